/** @file Values of a configuration as zod checks them, each with what to say was wanted. */
import { z } from "zod";

/** What was wanted, for zod's own message. */
export function wants(text: string): { error: string } {
  return { error: text };
}

export const count: z.ZodInt = z.int(wants("a whole number of at least 1")).min(1, wants("a whole number of at least 1"));
export const countOrZero: z.ZodInt = z.int(wants("a whole number of at least 0")).min(0, wants("a whole number of at least 0"));
export const positive: z.ZodNumber = z.number(wants("a number above 0")).gt(0, wants("a number above 0"));
export const notNegative: z.ZodNumber = z.number(wants("a number of at least 0")).min(0, wants("a number of at least 0"));
export const atLeast1: z.ZodNumber = z.number(wants("a number of at least 1")).min(1, wants("a number of at least 1"));
export const share: z.ZodNumber = z
  .number(wants("a number from 0 to 1"))
  .min(0, wants("a number from 0 to 1"))
  .max(1, wants("a number from 0 to 1"));
export const rateBelow1: z.ZodNumber = z
  .number(wants("a number from 0 to below 1"))
  .min(0, wants("a number from 0 to below 1"))
  .lt(1, wants("a number from 0 to below 1"));
export const flag: z.ZodBoolean = z.boolean(wants("true or false"));
export const text: z.ZodString = z.string(wants("a text")).min(1, wants("a text that is not empty"));

/** One of some names. */
export function choice<const T extends readonly [string, ...string[]]>(...names: T): z.ZodEnum<{ [K in T[number]]: K }> {
  const said = names.map((n) => `"${n}"`).join(" or ");
  // z.enum types its result by the literal names, which the generic T already carries
  return z.enum(names, wants(said)) as z.ZodEnum<{ [K in T[number]]: K }>;
}

/** Three numbers. */
export function triple(of: z.ZodNumber, said: string): z.ZodTuple<[z.ZodNumber, z.ZodNumber, z.ZodNumber], null> {
  return z.tuple([of, of, of], wants(`three numbers, ${said}`));
}

/** One number a channel. */
export function perChannel(of: z.ZodNumber, said: string): z.ZodArray<z.ZodNumber> {
  const message = `a list of numbers, ${said}`;
  return z.array(of, wants(message)).min(1, wants(message));
}

/** Two numbers, the lower first. */
export function range(of: z.ZodNumber, said: string): z.ZodType<[number, number]> {
  const message = `two numbers, the lower first, ${said}`;
  return z.tuple([of, of], wants(message)).refine(([lo, hi]) => lo <= hi, wants(message));
}
