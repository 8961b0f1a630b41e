/** @file How one section of the configuration is checked. */
import type { z } from "zod";
import type { SectionName, TrainConfig } from "./types.ts";

/** A schema of every key that a section must have, and of no other: what may be left out is no key of the configuration. */
export type SectionSchema<S extends SectionName> = z.ZodObject<
  { readonly [K in keyof TrainConfig[S] as undefined extends TrainConfig[S][K] ? never : K]: z.ZodType<TrainConfig[S][K]> },
  z.core.$strict
>;
