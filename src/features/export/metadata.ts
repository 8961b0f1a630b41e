/** @file Entries of an exported graph (`metadata_props`) that say what it is: JSON each. */

/** The network's configuration, how its pictures are decoded, and the content of its `preprocessor_config.json`. */
export const METADATA = { config: "tricera.config", decode: "tricera.decode", processor: "preprocessor_config" } as const;
