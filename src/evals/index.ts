/** @file Evaluations of features. */
export { evalKnn, type EvalKnnOptions, type EvalKnnResult, type Labelled, voteKnn, type VoteKnnOptions } from "./eval-knn.ts";
export { type KnnScore, type VoteOptions, weightedVote } from "./knn.ts";
