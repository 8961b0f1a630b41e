/** @file Where a step's time goes: a device whose programs note when each of their stages ends. */
import type { Device, Program } from "../../src/engine/runtime/index.ts";
import { countFlops } from "./count-flops.ts";
import { cpuMs, median } from "./timing.ts";

/** What one kind of work takes in a step. */
interface Spent {
  wallMs: number;
  cpuMs: number;
  stages: number;
  flops: number;
}

/** One kind of work in a step: a region, blocks taken together, or what the host does outside of programs. Medians over the steps. */
export interface ProfileRow extends Readonly<Spent> {
  readonly name: string;
}

const FEED = "host: before a program (draws, crops, handing over)";
const OPTIMIZER = "host: after the last program (AdamW, average)";

/** Steps until memory is where it stays. */
const UNSETTLED = 2;

const nameOf = (region: string): string => region.replace(/blocks\.\d+/, "blocks");

/** Notes the time from one mark to the next under the name of the later one. */
export class Profile {
  readonly #steps: Map<string, Spent>[] = [];
  #last = { wall: 0, cpu: 0 };

  /** A device that compiles as the given one does; its programs are watched. */
  watch(device: Device): Device {
    return {
      name: device.name,
      threads: device.threads,
      compile: (graph, options) => this.#watched(device.compile(graph, options), countFlops(graph)),
      [Symbol.dispose]: () => device[Symbol.dispose](),
    };
  }

  #watched(program: Program, flops: ReadonlyMap<string, number>): Program {
    const { inputs, outputs, arenaBytes, stages, sessions } = program;
    return {
      inputs,
      outputs,
      arenaBytes,
      stages,
      sessions,
      run: async (options = {}) => {
        this.#mark(FEED);
        await program.run({
          ...options,
          onStage: (region, index) => {
            this.#mark(nameOf(region));
            options.onStage?.(region, index);
          },
        });
        for (const [region, count] of flops) if (count > 0) this.#spentOn(nameOf(region)).flops += count;
      },
      [Symbol.dispose]: () => program[Symbol.dispose](),
    };
  }

  /** Runs a step and notes its parts. */
  async step(run: () => Promise<void>): Promise<void> {
    this.#steps.push(new Map());
    this.#last = { wall: performance.now(), cpu: cpuMs() };
    await run();
    this.#mark(OPTIMIZER);
  }

  #spentOn(name: string): Spent {
    const step = this.#steps.at(-1);
    const spent = step?.get(name) ?? { wallMs: 0, cpuMs: 0, stages: 0, flops: 0 };
    step?.set(name, spent);
    return spent;
  }

  #mark(name: string): void {
    const now = { wall: performance.now(), cpu: cpuMs() };
    const spent = this.#spentOn(name);
    spent.wallMs += now.wall - this.#last.wall;
    spent.cpuMs += now.cpu - this.#last.cpu;
    spent.stages++;
    this.#last = now;
  }

  /**
   * By name, the dearest first. The first two steps are left out where there are more: memory is touched first in the first one, and in
   * the second one ONNX Runtime takes other memory, as it then knows each session's pattern of use.
   */
  rows(): ProfileRow[] {
    const counted = this.#steps.slice(Math.min(UNSETTLED, this.#steps.length - 1));
    const names = [...new Set(counted.flatMap((step) => [...step.keys()]))];
    const middle = (name: string, key: keyof Spent): number => median(counted.map((step) => step.get(name)?.[key] ?? 0));
    return names
      .map((name) => ({
        name,
        wallMs: middle(name, "wallMs"),
        cpuMs: middle(name, "cpuMs"),
        stages: middle(name, "stages"),
        flops: middle(name, "flops"),
      }))
      .toSorted((a, b) => b.wallMs - a.wallMs);
  }
}

/** Rows as text. GFLOP/s counts matrix products only, over wall time; it is left out below 0.1 GFLOP. */
export function showProfile(rows: readonly ProfileRow[]): string {
  const total = rows.reduce((sum, { wallMs }) => sum + wallMs, 0);
  const lines = rows.map(({ name, wallMs, cpuMs: cpu, stages, flops }) => {
    const cells = [
      wallMs.toFixed(1).padStart(9),
      cpu.toFixed(1).padStart(9),
      `${((100 * wallMs) / total).toFixed(1)} %`.padStart(8),
      String(stages).padStart(4),
      (flops / 1e9).toFixed(1).padStart(8),
      (flops < 1e8 ? "" : (flops / 1e6 / wallMs).toFixed(0)).padStart(8),
    ];
    return `${cells.join(" ")}  ${name}\n`;
  });
  return `  wall ms    cpu ms    share    n   GFLOP  GFLOP/s  region (~ backward)\n${lines.join("")}`;
}
