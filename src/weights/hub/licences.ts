/** @file Licences of released weights: what they are called, where they stand, what they allow. No legal advice. DINO spec §0. */

export interface Licence {
  /** As in SPDX where it is there. */
  readonly id: string;
  readonly name: string;
  readonly url: string;
  /** In a sentence each. */
  readonly allows: string;
  readonly wants: string;
  /** Whether its terms bind whoever downloads, so that a pull asks for consent (`--yes`). */
  readonly isAgreement: boolean;
}

export type LicenceId = "apache-2.0" | "dinov3";

export const LICENCES: { readonly [K in LicenceId]: Licence } = {
  "apache-2.0": {
    id: "apache-2.0",
    name: "Apache License 2.0",
    url: "https://www.apache.org/licenses/LICENSE-2.0",
    allows: "research and commercial use, changes, redistribution",
    wants: "keep the licence text and notices, say what you changed",
    isAgreement: false,
  },
  dinov3: {
    id: "dinov3",
    name: "DINOv3 License",
    url: "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    allows: "research and commercial use, changes, redistribution, within the agreement",
    wants:
      "pass the agreement on with weights and everything derived from them (also what you distil or fine-tune), name DINOv3 in publications, no military, weapons, nuclear or espionage use, trade control laws",
    isAgreement: true,
  },
};

/** One line for people, shown before a download. */
export function licenceLine(licence: Licence): string {
  return `Licence of the weights: ${licence.name} (${licence.url}). Allows ${licence.allows}; wants: ${licence.wants}.`;
}
