import { expect, test } from "vitest";
import { blur } from "./blur.ts";
import { grayscale, jitter, type JitterOp } from "./colour.ts";
import { fallbackBox, type ViewPlan } from "./crops.ts";
import { evalCrop, shortSideSize } from "./eval-crop.ts";
import { type Box, cropImage, type RgbImage } from "./image.ts";
import { type Kernel } from "./kernels.ts";
import { flip, IMAGENET_MEAN, IMAGENET_STD, normalise, solarise } from "./pixel-ops.ts";
import { renderView } from "./render.ts";
import { resample, type Arithmetic } from "./resample.ts";
import { compare, hasGolden, loadTransforms } from "./testing/golden.ts";

/** The reference pictures lie beside the project, not in it: they are made of photos that may not be passed on. */
const golden = (...names: readonly string[]) => test.skipIf(!hasGolden(...names));
const PHOTOS = ["tench", "cock", "jay"];
const EXACT = { most: 0, share: 0 };

function expectClose(mine: ArrayLike<number>, wanted: ArrayLike<number>, what: string): void {
  const { most, share } = compare(mine, wanted);
  expect(most, `${what}: largest difference`).toBeLessThanOrEqual(1);
  expect(share, `${what}: share of differences`).toBeLessThanOrEqual(0.02);
}

golden(...PHOTOS.map((p) => `resize_${p}`)).each(PHOTOS)(
  "resample() meets the reference on %s: PIL bit for bit, torch at its tolerance",
  (photo) => {
    const file = loadTransforms(`resize_${photo}`);
    const x = file.image("x");
    for (const name of file.names.filter((n) => n.startsWith("y."))) {
      const [, api = "", mode = "", size = ""] = name.split(".");
      const [height = 0, width = 0] = size.split("x").map(Number);
      const kernel = mode as Kernel; // names in the reference are ours
      const options = { width, height, kernel };
      if (api === "pil") expect(compare(resample(x, options).data, file.image(name).data), name).toEqual(EXACT);
      else if (api === "tensor_u8") expectClose(resample(x, { ...options, arithmetic: "torch-u8" }).data, file.image(name).data, name);
      else {
        const antialias = api === "tensor_f32";
        const mine = resample(x, { ...options, arithmetic: "float", antialias });
        expect(compare(mine.data, file.floats(name)).most, name).toBeLessThanOrEqual(2e-5);
      }
    }
  },
);

golden("resized_crop")("resample() crops and resizes in one go as torchvision's resized_crop", () => {
  const file = loadTransforms("resized_crop");
  const boxes = file.config["boxes_top_left_h_w_and_size"] as [[number, number, number, number], [number, number]][]; // reference file
  for (const photo of PHOTOS)
    for (const [i, [[top, left, h, w], [height, width]]] of boxes.entries())
      for (const kernel of ["bicubic", "bilinear"] as const) {
        const options = { box: { top, left, height: h, width: w }, width, height, kernel };
        const x = file.image(`x.${photo}`);
        expect(compare(resample(x, options).data, file.image(`y.pil.${photo}.${i}.${kernel}`).data)).toEqual(EXACT);
        const torch = resample(x, { ...options, arithmetic: "torch-u8" });
        expectClose(torch.data, file.image(`y.tensor_u8.${photo}.${i}.${kernel}`).data, `${photo} ${i} ${kernel}`);
      }
  const fallback = file.json["fallback_top_left_h_w"] as Record<string, number[]>; // reference file
  for (const [size, wanted] of Object.entries(fallback)) {
    const [height = 0, width = 0] = size.split("x").map(Number);
    const b: Box = fallbackBox({ width, height });
    expect([b.top, b.left, b.height, b.width], size).toEqual(wanted);
  }
});

golden("eval_resize_crop")("evalCrop() resizes the short side and crops the centre as torchvision on PIL images", () => {
  const file = loadTransforms("eval_resize_crop");
  for (const photo of PHOTOS)
    for (const [short, crop] of [
      [64, 56],
      [50, 50],
    ] as const) {
      const x = file.image(`x.${photo}`);
      const whole = resample(x, { ...shortSideSize(x, short), kernel: "bicubic" });
      expect(compare(whole.data, file.image(`y.${photo}.${short}.${crop}.resized`).data)).toEqual(EXACT);
      const mine = evalCrop(x, { imageSizePx: crop, resize: "short-side", cropRatio: crop / short });
      expect(compare(mine.data, file.image(`y.${photo}.${short}.${crop}`).data)).toEqual(EXACT);
      const planes = normalise(mine, { mean: IMAGENET_MEAN, std: IMAGENET_STD });
      expect(compare(planes, file.floats(`y.${photo}.${short}.${crop}.normalised`)).most).toBeLessThan(1e-6);
    }
});

type Factors = Record<JitterOp, number>;
const OPS: readonly JitterOp[] = ["brightness", "contrast", "saturation", "hue"];

golden("color_jitter")("jitter() is bit-equal to torchvision's colour operations on PIL images", () => {
  const file = loadTransforms("color_jitter");
  const factors = file.config["factors"] as Factors[]; // reference file
  const orders = file.config["orders"] as number[][]; // reference file
  for (const photo of PHOTOS)
    for (const [i, f] of factors.entries()) {
      const x = file.image(`x.${photo}`);
      for (const op of OPS)
        expect(compare(jitter(x, [[op, f[op]]]).data, file.image(`y.pil.${photo}.${i}.${op}`).data), `${photo} ${i} ${op}`).toEqual(EXACT);
      for (const order of orders) {
        const plan = order.map((o) => [OPS[o]!, f[OPS[o]!]] as const); // orders hold 0..3
        expect(compare(jitter(x, plan).data, file.image(`y.pil.${photo}.${i}.order${order.join("")}`).data)).toEqual(EXACT);
      }
    }
});

golden("pixel_ops")("grayscale(), solarise(), flip(), blur(), normalise() meet PIL and torchvision", () => {
  const file = loadTransforms("pixel_ops");
  for (const photo of PHOTOS) {
    const x = file.image(`x.${photo}`);
    const same = (mine: RgbImage, name: string): void => expect(compare(mine.data, file.image(name).data), name).toEqual(EXACT);
    same(grayscale(x), `y.pil.${photo}.gray`);
    same(grayscale(x), `y.pil.${photo}.gray_L`);
    same(solarise(x), `y.pil.${photo}.solarize128`);
    same(flip(x), `y.pil.${photo}.flip`);
    for (const sigma of ["0.1", "0.5", "1.0", "1.7", "2.0"]) same(blur(x, Number(sigma)), `y.pil.${photo}.blur${sigma}`);
    expect(compare(normalise(x, { mean: IMAGENET_MEAN, std: IMAGENET_STD }), file.floats(`y.${photo}.normalised`)).most).toBeLessThan(1e-6);
  }
});

interface Pipeline {
  readonly box: [number, number, number, number];
  readonly size: number;
  readonly flip: boolean;
  readonly jitter: number;
  readonly order: number[];
  readonly gray: boolean;
  readonly sigma: number | null;
  readonly solarize: number | null;
}

golden("pipeline")("renderView() makes the whole augmentation of torchvision on PIL images", () => {
  const file = loadTransforms("pipeline");
  const factors = file.config["jitter"] as Factors[]; // reference file
  for (const [i, p] of (file.config["pipelines"] as Pipeline[]).entries()) {
    // reference file
    const [top, left, height, width] = p.box;
    const f = factors[p.jitter]!; // reference file
    const plan: ViewPlan = {
      sizePx: p.size,
      box: { top, left, height, width },
      kernel: "bicubic",
      flip: p.flip,
      grayscale: p.gray,
      blurSigma: p.sigma ?? 0,
      jitter: p.order.map((o) => [OPS[o]!, f[OPS[o]!]] as const), // orders hold 0..3
      solarizeThreshold: p.solarize ?? 256,
      mean: IMAGENET_MEAN,
      std: IMAGENET_STD,
    };
    for (const photo of PHOTOS) {
      const out = new Float32Array(p.size * p.size * 3 + 5);
      renderView(file.image(`x.${photo}`), plan, out, 5);
      expect(compare(out.subarray(5), file.floats(`y.pil.${photo}.${i}.normalised`)).most).toBeLessThan(1e-6);
    }
  }
});

interface Processor {
  readonly class: string;
  readonly arguments: {
    readonly size: { readonly height?: number; readonly shortest_edge?: number };
    readonly crop_size?: { readonly height: number };
  };
  readonly resample: number;
}

golden("hf_processors")("evalCrop() meets Hugging Face's image processors", () => {
  const file = loadTransforms("hf_processors");
  for (const [name, p] of Object.entries(file.config as Record<string, Processor>))
    // reference file
    for (const photo of PHOTOS.slice(0, 2)) {
      const short = p.arguments.size.shortest_edge;
      const imageSizePx = p.arguments.crop_size?.height ?? p.arguments.size.height ?? 0;
      const arithmetic: Arithmetic = name.endsWith("_pil") ? "pil-u8" : name === "dinov3" ? "float" : "torch-u8";
      const kernel: Kernel = p.resample === 3 ? "bicubic" : "bilinear";
      const config = { imageSizePx, kernel, arithmetic };
      const mine = evalCrop(
        file.image(`x.${photo}`),
        short === undefined ? { ...config, resize: "square" } : { ...config, resize: "short-side", cropRatio: imageSizePx / short },
      );
      const planes = normalise(mine, { mean: IMAGENET_MEAN, std: IMAGENET_STD });
      const limit = arithmetic === "float" ? 2e-5 : 1.001 / 255 / 0.224;
      expect(compare(planes, file.floats(`y.${name}.${photo}`)).most, `${name} ${photo}`).toBeLessThan(limit);
    }
});

golden("hf_dinov2_default", "hf_dinov3_default").each(["hf_dinov2_default", "hf_dinov3_default"])(
  "evalCrop() meets Hugging Face's default processor %s",
  (name) => {
    const file = loadTransforms(name);
    const mine = name.includes("v2")
      ? evalCrop(file.image("x"), { imageSizePx: 224, resize: "short-side", arithmetic: "torch-u8", cropOffset: "floor" })
      : evalCrop(file.image("x"), { imageSizePx: 224, resize: "square", arithmetic: "float", kernel: "bilinear" });
    const planes = normalise(mine, { mean: IMAGENET_MEAN, std: IMAGENET_STD });
    expect(compare(planes, file.floats("y")).most).toBeLessThan(name.includes("v2") ? 0.03 : 2e-3);
  },
);

golden("resize_tench")("cropImage() copies a box", () => {
  const x = loadTransforms("resize_tench").image("x");
  const box = { left: 3, top: 2, width: 5, height: 4 };
  expect(resample(x, { box, width: 5, height: 4, kernel: "lanczos" })).toEqual(cropImage(x, box));
});
