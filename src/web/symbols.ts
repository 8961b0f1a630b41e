/** @file `Symbol.dispose` for browsers that have none yet (Safari, Firefox before 141, Chrome before 134); to be loaded before all else. */

/** Under the names that compilers' helpers look for. */
for (const name of ["dispose", "asyncDispose"] as const)
  if (!(name in Symbol)) Object.defineProperty(Symbol, name, { value: Symbol.for(`Symbol.${name}`) });
