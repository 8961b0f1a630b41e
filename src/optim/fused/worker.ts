/** @file A thread of the fused optimizer: waits for a phase, runs it, says so. */
import { parentPort, workerData } from "node:worker_threads";
import { makePhaseRunner, type JobSetup, type PhaseRequest } from "./phases.ts";

const { setup, scalarsPerParam } = workerData as { readonly setup: JobSetup; readonly scalarsPerParam: number }; // sent by Crew
const run = makePhaseRunner(setup, scalarsPerParam);

parentPort?.on("message", (request: PhaseRequest) => {
  run(request);
  parentPort?.postMessage("done");
});
