/** @file Views: what a person looks at. */
export { attentionPictures, classAttention } from "./attention.ts";
export { type ChartOptions, type Level, lineChart, type Series } from "./chart.ts";
export { contactSheet, type ContactRow, type ContactSheetOptions, shadePatches } from "./contact-sheet.ts";
export { escapeHtml, percent, shellWord, shortNumber } from "./html.ts";
export { pcaPicturesOverEpochs, type TokenMap } from "./pca.ts";
export { fromPlanes, resizePicture, type RgbImage } from "./picture.ts";
export type { BarsBlock, Block, Credit, PictureRow, PicturesBlock, ReportPicture } from "./report-blocks.ts";
export { renderReport, type ReportData, type ReportSection } from "./report.ts";
