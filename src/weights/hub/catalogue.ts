/**
 * @file The released architectures: their names, where their weights lie, under which licence. Data made of the presets; nothing is
 * allocated. DINO spec §1.8, §2.7, §3.1, §3.3.
 */
import { type BackboneConfig, CONVNEXT_PRESETS, RESNET_PRESETS, VIT_PRESETS } from "../../nn/index.ts";
import type { LicenceId } from "./licences.ts";

/** A file of weights as Meta released it. */
export interface Original {
  /** What `models pull` calls it. */
  readonly id: string;
  readonly url: string;
  /** Whether Meta hands out links of one's own after a form, so that the plain address answers 403. */
  readonly isGated: boolean;
}

export interface CatalogueEntry {
  /** The canonical id (contracts 18). */
  readonly id: string;
  /** Other names of it: Meta's, Hugging Face's, timm's. */
  readonly aliases: readonly string[];
  readonly config: BackboneConfig;
  /** Of the released weights; undefined where there are none. */
  readonly licence: LicenceId | undefined;
  /** Repositories on Hugging Face, those of the authors first. */
  readonly hub: readonly string[];
  readonly originals: readonly Original[];
}

const FILES = "https://dl.fbaipublicfiles.com";

/** Folders of DINO's files by our ids; a file is called as its folder. */
const DINO_FILES: ReadonlyMap<string, readonly (readonly [id: string, stem: string])[]> = new Map([
  [
    "dino_vits16",
    [
      ["dino_vits16", "dino_deitsmall16_pretrain"],
      ["dino_vits16_googlelandmark", "dino_vitsmall16_googlelandmark_pretrain"],
    ],
  ],
  ["dino_vits8", [["dino_vits8", "dino_deitsmall8_pretrain"]]],
  ["dino_vitb16", [["dino_vitb16", "dino_vitbase16_pretrain"]]],
  ["dino_vitb8", [["dino_vitb8", "dino_vitbase8_pretrain"]]],
  ["resnet50", [["dino_resnet50", "dino_resnet50_pretrain"]]],
]);

interface DinoV3Release {
  readonly id: string;
  /** Meta's name of the architecture, and timm's forms of it. */
  readonly meta: string;
  readonly timm: readonly string[];
  /** Data sets it was trained on, with the mark in the name of the file. */
  readonly files: readonly (readonly [data: string, mark: string])[];
}

const LVD = "lvd1689m";
const SAT = "sat493m";
const vit = (size: string): string[] => [`vit_${size}_patch16_dinov3`, `vit_${size}_patch16_dinov3_qkvb`];

const DINOV3: readonly DinoV3Release[] = [
  { id: "dinov3_vits16", meta: "vits16", timm: vit("small"), files: [[LVD, "08c60483"]] },
  { id: "dinov3_vitsplus16", meta: "vits16plus", timm: vit("small_plus"), files: [[LVD, "4057cbaa"]] },
  { id: "dinov3_vitb16", meta: "vitb16", timm: vit("base"), files: [[LVD, "73cec8be"]] },
  { id: "dinov3_vitl16", meta: "vitl16", timm: vit("large"), files: [[LVD, "8aa4cbdd"]] },
  { id: "dinov3_vitl16_sat", meta: "vitl16", timm: vit("large"), files: [[SAT, "eadcf0ff"]] },
  { id: "dinov3_vithplus16", meta: "vith16plus", timm: vit("huge_plus"), files: [[LVD, "7c1da9a5"]] },
  {
    id: "dinov3_vit7b16",
    meta: "vit7b16",
    timm: ["vit_7b_patch16_dinov3"],
    files: [
      [LVD, "a955f4ea"],
      [SAT, "a6675841"],
    ],
  },
  { id: "dinov3_convnext_tiny", meta: "convnext_tiny", timm: [], files: [[LVD, "21b726bb"]] },
  { id: "dinov3_convnext_small", meta: "convnext_small", timm: [], files: [[LVD, "296db49d"]] },
  { id: "dinov3_convnext_base", meta: "convnext_base", timm: [], files: [[LVD, "801f2ba9"]] },
  { id: "dinov3_convnext_large", meta: "convnext_large", timm: [], files: [[LVD, "61fa432d"]] },
];

/** Names that stand for one configuration, the canonical one first. */
function namesByConfig(): ReadonlyMap<BackboneConfig, readonly string[]> {
  const groups = new Map<BackboneConfig, string[]>();
  for (const [name, config] of [...VIT_PRESETS, ...CONVNEXT_PRESETS, ...RESNET_PRESETS] as readonly (readonly [string, BackboneConfig])[])
    groups.set(config, [...(groups.get(config) ?? []), name]);
  return groups;
}

function dinoOriginals(id: string): Original[] {
  return (DINO_FILES.get(id) ?? []).map(([name, stem]) => ({ id: name, url: `${FILES}/dino/${stem}/${stem}.pth`, isGated: false }));
}

function dinov2Originals(id: string): Original[] {
  const [, base = "", reg] = /^(dinov2_vit[sblg]14)(_reg)?$/.exec(id) ?? [];
  if (base === "") return [];
  return [{ id, url: `${FILES}/dinov2/${base}/${base}${reg === undefined ? "" : "_reg4"}_pretrain.pth`, isGated: false }];
}

function dinov3Originals({ id, meta, files }: DinoV3Release): Original[] {
  return files.map(([data, mark], i) => ({
    id: i === 0 ? id : `${id}_sat`,
    url: `${FILES}/dinov3/dinov3_${meta}/dinov3_${meta}_pretrain_${data}-${mark}.pth`,
    isGated: true,
  }));
}

/** Aliases of a DINOv3 release that the presets give other configurations, as Hugging Face and timm leave parts out. */
function dinov3Aliases({ id, meta, timm, files }: DinoV3Release): string[] {
  const hub = files.map(([data]) => `facebook/dinov3-${meta.replace("_", "-")}-pretrain-${data}`);
  const forms = id.endsWith("_sat") ? [] : timm;
  return [...hub, ...forms, ...timm.flatMap((form) => files.map(([data]) => `${form}.${data}`))];
}

/** Names on Hugging Face: the authors' are whole, timm's released forms have a tag after a full stop. */
function hubIds(aliases: readonly string[]): string[] {
  const authors = aliases.filter((name) => name.startsWith("facebook/"));
  return [...authors, ...aliases.filter((name) => name.includes(".") && !name.includes("/")).map((name) => `timm/${name}`)];
}

function entryOf(config: BackboneConfig, names: readonly string[]): CatalogueEntry {
  const [id = "", ...others] = names;
  const v3 = DINOV3.find((release) => release.id === id);
  const aliases = [...new Set([...others, ...(v3 === undefined ? [] : dinov3Aliases(v3))])];
  const originals = v3 === undefined ? [...dinoOriginals(id), ...dinov2Originals(id)] : dinov3Originals(v3);
  const hub = hubIds(aliases);
  const isReleased = hub.length + originals.length > 0;
  return { id, aliases, config, licence: isReleased ? (v3 === undefined ? "apache-2.0" : "dinov3") : undefined, hub, originals };
}

/** Configurations of Hugging Face's and timm's forms of DINOv3: those are aliases of an entry, not entries. */
const isForm = (name: string): boolean => name.startsWith("facebook/") || name.includes("_dinov3");

/** Every preset once, in the order of the presets. */
export const CATALOGUE: readonly CatalogueEntry[] = [...namesByConfig()]
  .filter(([, names]) => !isForm(names[0] ?? ""))
  .map(([config, names]) => entryOf(config, names));

/** The entry that a name stands for: canonical id, alias, Hugging Face id, or the id of one of its files. */
export function findEntry(name: string): CatalogueEntry | undefined {
  const has = ({ id, aliases, hub, originals }: CatalogueEntry): boolean =>
    id === name || aliases.includes(name) || hub.includes(name) || originals.some((file) => file.id === name);
  return CATALOGUE.find(({ id }) => id === name) ?? CATALOGUE.find(has);
}

/** Every name that `findEntry` knows. */
export function catalogueNames(): readonly string[] {
  return [
    ...new Set(CATALOGUE.flatMap(({ id, aliases, hub, originals }) => [id, ...originals.map((file) => file.id), ...hub, ...aliases])),
  ];
}
