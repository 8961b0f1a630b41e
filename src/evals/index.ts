/** @file Evaluations of features. */
export { evalKnn, type EvalKnnOptions, type EvalKnnResult, voteKnn } from "./eval-knn.ts";
export { type KnnScore, type VoteOptions, weightedVote } from "./knn.ts";
