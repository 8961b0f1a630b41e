/** @file A training in a process of its own, which a test kills. */
import { train, type TrainOptions } from "../train.ts";

const options = JSON.parse(process.argv[2] ?? "{}") as TrainOptions; // the test's own options
await train(options);
