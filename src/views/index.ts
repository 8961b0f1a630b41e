/** @file Views: what a person looks at. */
export { attentionPictures, classAttention } from "./attention.ts";
export { type ChartOptions, lineChart, type Series } from "./chart.ts";
export { pcaPicturesOverEpochs, type TokenMap } from "./pca.ts";
export { type PictureTable, renderReport, type ReportData, type ReportPicture } from "./report.ts";
