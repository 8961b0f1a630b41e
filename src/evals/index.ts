/** @file Evaluations of features. */
export { evalKnn, type EvalKnnOptions, type EvalKnnResult, type Labelled, voteKnn, type VoteKnnOptions } from "./eval-knn.ts";
export { type KnnScore, type VoteOptions, weightedVote } from "./knn.ts";
export { evalPatchKnn, type EvalPatchKnnOptions } from "./patch-eval.ts";
export { type DenseSides, patchKnn, type PatchKnnOptions, type PatchKnnResult, type PatchVoteOptions } from "./patch-knn.ts";
export { patchLabels, type PatchLabelOptions, VOID_PATCH } from "./patch-labels.ts";
export { type ClassScore, Confusion, predictByVote, type PredictOptions } from "./patch-vote.ts";
