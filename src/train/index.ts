/** @file Training: configuration, loop, checkpoints, monitors, logs. */
export * from "./config/index.ts";
