/** @file Files that come anywhere on the page, dropped or pasted: a model's, or a picture. */

export interface FilesEvents {
  readonly onModel: (files: readonly File[]) => void;
  readonly onPicture: (file: File) => void;
}

const isPicture = ({ type }: File): boolean => type.startsWith("image/");
const isOfModel = ({ name }: File): boolean => /\.(?:json|safetensors|bin|pth?)$/.test(name); // the last ones for an error that says what to do

function sort(files: readonly File[], { onModel, onPicture }: FilesEvents): void {
  const model = files.filter(isOfModel);
  if (model.length > 0) onModel(model);
  for (const file of files.filter(isPicture).slice(0, 2)) onPicture(file);
}

/** Listens to drops beside the panels, which take theirs themselves, and to what is pasted. */
export function listenToFiles(events: FilesEvents): void {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    if (event.defaultPrevented) return; // a panel took it
    event.preventDefault(); // else the browser would leave the page for the file
    sort([...(event.dataTransfer?.files ?? [])], events);
  });
  addEventListener("paste", ({ clipboardData }) => sort([...(clipboardData?.files ?? [])].filter(isPicture), events));
}
