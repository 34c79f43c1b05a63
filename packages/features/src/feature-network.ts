import type { StateDict, WeightSource } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** What a network says of N pictures. New tensors, the caller's to dispose. */
export type FeatureOutput = {
  /** `[N, D]`. */
  readonly features: tf.Tensor2D;
  /** Class scores before the softmax `[N, K]`, of networks that classify. */
  readonly logits?: tf.Tensor2D;
};

/** A network that judges pictures. */
export interface FeatureNetwork {
  /** Its name in the registry. */
  readonly name: string;
  /** D. */
  readonly dimension: number;
  /** K, classes of its logits; null when it does not classify. */
  readonly classes: number | null;
  /** Which numbers these are: network, layer, resizing. Two scores compare only when their recipes are equal. */
  readonly recipe: string;
  /**
   * Judges pictures of any size, `[N, H, W, 1 or 3]` of bytes 0..255 (int32 or float32). A grey one counts as a coloured one.
   *
   * @throws InvalidArgumentError when they have another shape
   */
  forward(images: tf.Tensor4D): FeatureOutput;
  /** Texts in the space of the pictures' features, `[N, D]`; only CLIP has it. */
  embedText?(texts: readonly string[]): tf.Tensor2D;
  /** Frees the weights. */
  dispose(): void;
}

/** Where the makers of a network publish its weights. None come with this package. */
export interface PublishedWeights {
  readonly file: string;
  readonly url: string;
  /** SHA-256, or its first digits as the file's name has them; absent where the makers publish none. */
  readonly sha256?: string;
}

/** What a network is opened with. */
export interface FeatureFiles {
  /** One file or several, in the layouts that the record's README lists. */
  readonly weights: readonly (StateDict | WeightSource)[];
  /** The parsed `config.json` beside them, for networks that need one. */
  readonly config?: unknown;
  /** The parsed `vocab.json` and the text of `merges.txt` beside them, for networks that read texts with a vocabulary of their own. */
  readonly vocabulary?: { readonly vocab: unknown; readonly merges: string };
}

/** A kind of feature network: one entry of the registry. */
export interface FeatureNetworkRecord {
  readonly name: string;
  /** One line: network, layer, paper. */
  readonly about: string;
  readonly weights: readonly PublishedWeights[];
  /**
   * Opens it.
   *
   * @throws what loading throws; InvalidArgumentError when the files are not those of this network
   */
  open(files: FeatureFiles): Promise<FeatureNetwork>;
}

/** Pictures as bytes. */
export interface ImageBytes {
  /** NHWC, 0..255. */
  readonly images: Uint8Array;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
}

/** What a network said of N pictures, on the host. */
export interface FeatureRows {
  /** Row-major `[count, dim]`. */
  readonly features: { readonly data: Float32Array; readonly count: number; readonly dim: number };
  readonly logits?: { readonly data: Float32Array; readonly count: number; readonly dim: number };
}

/** Judges one batch of bytes and brings the numbers to the host. */
export async function readFeatures(
  network: FeatureNetwork,
  { images, count, height, width, channels }: ImageBytes,
): Promise<FeatureRows> {
  const output = tf.tidy(() => network.forward(tf.tensor4d(images, [count, height, width, channels], 'int32')));
  try {
    const rows = async (x: tf.Tensor2D) => ({ data: (await x.data()) as Float32Array, count, dim: x.shape[1] });
    return {
      features: await rows(output.features),
      ...(output.logits && { logits: await rows(output.logits) }),
    };
  } finally {
    tf.dispose(output);
  }
}

/** A picture as bytes, HWC. */
export interface PictureBytes {
  readonly data: Uint8Array;
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
}

/** Judges pictures of any sizes, in their order; those of one size go through the network together. At least one. */
export async function readPictures(network: FeatureNetwork, pictures: readonly PictureBytes[]): Promise<FeatureRows> {
  const groups = new Map<string, number[]>();
  for (const [i, { height, width, channels }] of pictures.entries()) {
    const key = `${height} ${width} ${channels}`;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  const read: { readonly places: readonly number[]; readonly rows: FeatureRows }[] = [];
  for (const places of groups.values()) {
    const { height, width, channels, data } = pictures[places[0]!]!;
    const images = new Uint8Array(places.length * data.length);
    for (const [n, place] of places.entries()) images.set(pictures[place]!.data, n * data.length);
    read.push({ places, rows: await readFeatures(network, { images, count: places.length, height, width, channels }) });
  }
  const inOrder = (of: (rows: FeatureRows) => FeatureRows['features']) => {
    const { dim } = of(read[0]!.rows);
    const data = new Float32Array(pictures.length * dim);
    for (const { places, rows } of read) {
      const part = of(rows).data;
      for (const [n, place] of places.entries()) data.set(part.subarray(n * dim, (n + 1) * dim), place * dim);
    }
    return { data, count: pictures.length, dim };
  };
  return {
    features: inOrder(({ features }) => features),
    ...(network.classes !== null && { logits: inOrder(({ logits }) => logits!) }),
  };
}
