/** @file The dense features of a run's report: whether patches keep up with the class token. */
import type { ChartOptions, ReportSection, Series } from "../../views/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { MetricsLine } from "../run/index.ts";
import { pointsOf } from "./curves.ts";
import { watchedName } from "./report-words.ts";

/** Both curves on one chart: accuracies where patches were classified, else k-NN beside the drift. None where only the drift was measured. */
function sideBySide(lines: readonly MetricsLine[]): readonly ChartOptions[] {
  const series = (name: string, key: string): Series => ({ name, points: pointsOf(lines, key) });
  const images = series("images (class token)", "knnTop1");
  const patches = series("patches", "dense.patchTop1");
  if (patches.points.length > 0)
    return [
      {
        title: "Global and dense k-NN",
        series: [images, patches],
        format: "percent",
        text:
          "Images by their class token, patches by their own tokens: each classified by its nearest neighbours. Both should rise. " +
          "Patches that fall while images still rise are what long training does to dense features (DINOv3 §4); Gram anchoring brings them back.",
      },
    ];
  if (images.points.length === 0) return [];
  return [
    {
      title: "Global k-NN and dense drift",
      series: [images, series("dense drift", "dense.drift")],
      fromZero: true,
      text:
        "Top-1 of images by their class token, and how far the similarities of patches moved since an early look. " +
        "A drift that grows after k-NN has levelled off warns of decaying dense features; images with masks (--dense-data) would measure them.",
    },
  ];
}

function details(lines: readonly MetricsLine[]): readonly ChartOptions[] {
  const one = (key: string, name: string): readonly Series[] => [{ name, points: pointsOf(lines, key) }];
  return [
    {
      title: "Mean IoU of patches",
      series: one("dense.miou", "mIoU"),
      format: "percent",
      text: "Every class counts alike, so small things weigh as much as sky and road.",
    },
    {
      title: "Likeness of patches",
      series: [...one("dense.similarity", "with each other"), ...one("dense.clsPatch", "with class token")],
      levels: [{ y: 1, name: "all alike" }],
      fromZero: true,
      text: "Mean cosines within fixed images. Near 1, places of a picture cannot be told apart; the second rises when patches become copies of the class token.",
    },
    {
      title: "Drift of patches",
      series: one("dense.drift", "drift"),
      fromZero: true,
      text: "The Gram loss between now and an early look on fixed images: 0.04 means that cosines of two patches moved by 0.2. With Gram anchoring it stays low.",
    },
  ];
}

/** Undefined where no look at dense features was taken. */
export function denseSection(lines: readonly MetricsLine[], config: Pick<TrainConfig, "distill">): ReportSection | undefined {
  const looked = lines.some((line) => Object.keys(line).some((key) => key.startsWith("dense.")));
  if (!looked) return undefined;
  return {
    title: "Dense features",
    text: `What the patch tokens of ${watchedName(config)} are worth along the run, beside the class token: the one can get worse while the other gets better.`,
    blocks: [{ kind: "charts", charts: [...sideBySide(lines), ...details(lines)] }],
  };
}
