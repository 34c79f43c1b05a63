/**
 * What reading a file may cost. Files from the internet are hostile until they are parsed, so every reader of every
 * package asks these numbers before it allocates or loops; all of them are here and in the README of this package.
 * Honest files stay far below: the largest known use is beside each number.
 */
export const readingBudget = {
  /** Bytes of a settings file, a recipe, a manifest (config.json of a UNet: 3 kB). */
  configBytes: 2 ** 20,
  /** Bytes of a vocabulary, a tokenizer.json, a shard index (mT5's tokenizer.json: 16 MB). */
  textBytes: 2 ** 25,
  /** Bytes of a list with a line or a text for each picture: metadata.jsonl, an index of latents (a million captions: 200 MB). */
  listBytes: 2 ** 28,
  /** Characters of one caption; longer ones are cut. */
  captionCharacters: 10_000,
  /** Nesting of JSON (tokenizer.json: 8). */
  jsonDepth: 64,
  /** Values in one JSON text, keys counted too (mT5's tokenizer.json: 750,000). */
  jsonValues: 2 ** 21,
  /** Bytes of a safetensors header (FLUX.1 with encoders in one file: 0.3 MB). */
  headerBytes: 2 ** 25,
  /** Bytes of a name or key in a GGUF header, and of a name in a tar archive (file systems allow 4,096). */
  nameBytes: 2 ** 12,
  /** Tensors of one file (Stable Diffusion XL in one file: 2,515). */
  tensors: 2 ** 18,
  /** Bytes of a pickle's program, what it unpacks to included (a 12 GB checkpoint: 1.5 MB; EDM's pickles carry their tensors as texts that are skipped). */
  pickleBytes: 2 ** 26,
  /** Values on a pickle's stack, in its memo, and in its containers: each of them (Stable Diffusion 1.5 with its optimizer: 90,000). */
  pickleValues: 2 ** 20,
  /** Instructions of a pickle. */
  pickleInstructions: 2 ** 24,
  /** Bytes of a line of a pickle's text instructions; nesting of its values (checkpoints of trainers: 10). */
  pickleLineBytes: 2 ** 16,
  pickleDepth: 100,
  /** Bytes that a view of a tensor may repeat its elements to, whatever the size of the file. */
  expandedBytes: 2 ** 24,
  /** Bytes of JSON that is stored as a tensor (NF4's settings: 200). */
  tensorJsonBytes: 2 ** 16,
  /** Bytes that one packed entry of a zip or npz archive unpacks to; entries that are stored as they are have no limit. */
  unpackedBytes: 2 ** 30,
  /** Entries of a zip or npz archive (Stable Diffusion 1.5 as .ckpt: 1,150). */
  zipEntries: 2 ** 18,
  /** Added tokens of a tokenizer, and letters in all of them; ids of a vocabulary (mT5: 250,112). */
  addedTokens: 2 ** 16,
  addedTokenLetters: 2 ** 20,
  tokenIds: 2 ** 24,
  /** Bytes of an image file. */
  imageFileBytes: 2 ** 27,
  /** Pixels of one picture (8192 x 8192). */
  imagePixels: 2 ** 26,
  /** Pixels of the longer side of one picture; a filter's table grows with it. */
  imageSide: 2 ** 22,
  /** Bytes that a PNG's data may have behind its pixels, as some writers leave there. */
  imageTrailingBytes: 2 ** 16,
  /** Bytes of pictures being decoded at one time, 8 a pixel; a larger one is decoded alone. */
  imageBytesAtOnce: 2 ** 28,
  /** Folders below each other in a data set, and files and folders in all. */
  folderDepth: 32,
  folderEntries: 2 ** 23,
  /** Bytes of a shard of latents (4,096 of 64 x 64 x 4: 537 MB). */
  latentShardBytes: 2 ** 31,
  /** Steps of a solver, classes of a model, images of a request that a file may ask for. */
  steps: 100_000,
  classes: 2 ** 20,
} as const;
