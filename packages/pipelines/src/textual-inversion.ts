import { type HostTensor, InvalidArgumentError, InvalidFileError, type WeightSource } from '@mezzotint/core';
import type { AddedToken, Tokenizer } from '@mezzotint/text-encoders';
import type { ModelFiles } from './family.js';

/** A textual inversion: vectors that stand for a token in prompts. Gal et al. 2022 (arXiv 2208.01618). */
export interface TextualInversion {
  readonly name: string;
  /** What prompts write, for example `<cat-toy>`. */
  readonly token: string;
  /** One or several vectors for each text encoder that the file is for, `[n, D]`. */
  readonly vectors: readonly HostTensor[];
}

/**
 * Reads embeddings of diffusers (`{ '<token>': [D] }`), of the web UI (`string_to_param`, `emb_params`; the token is its `name`, else
 * the file's) and of SDXL (`clip_l` and `clip_g`), from `.pt`, `.bin` and `.safetensors`.
 *
 * @param token what prompts write, in the place of the file's own
 * @throws InvalidFileError when it holds no embedding; InvalidArgumentError for a token with spaces
 */
export async function readTextualInversion(files: ModelFiles, token?: string): Promise<TextualInversion> {
  const file = await files.weights('');
  try {
    const names = [...file.tensors.keys()];
    const pair = names.filter((name) => name === 'clip_l' || name === 'clip_g');
    const param = names.filter((name) => name.startsWith('string_to_param.') || name === 'emb_params');
    const chosen = pair.length > 0 ? pair : param.length > 0 ? param.slice(0, 1) : names.length === 1 ? names : [];
    if (chosen.length === 0) {
      throw new InvalidFileError(
        files.name,
        `holds no textual inversion; its tensors are ${names.slice(0, 5).join(', ')}`,
      );
    }
    const own =
      file.metadata.get('name') ??
      (pair.length + param.length > 0 || chosen[0] === '' ? fileName(files.name) : chosen[0]!);
    const vectors = await Promise.all(chosen.map(async (name) => asRows(files.name, name, await file.read(name))));
    const written = token ?? own;
    if (written.trim() === '' || /\s/.test(written)) {
      throw new InvalidArgumentError('textualInversion', `expected a token without spaces, got '${written}'`);
    }
    return { name: files.name, token: written, vectors };
  } finally {
    file.close();
  }
}

function fileName(path: string): string {
  return path
    .split(/[\\/]/)
    .at(-1)!
    .replace(/\.[^.]+$/, '');
}

function asRows(file: string, name: string, { shape, data }: HostTensor): HostTensor {
  const [rows, width] = shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!];
  if (shape.length > 2 || rows < 1 || rows > 1000 || data.some((value) => !Number.isFinite(value))) {
    throw new InvalidFileError(file, `${name}: expected finite vectors [n, D], got [${shape.join(', ')}]`);
  }
  return { shape: [rows, width], data };
}

/** A text encoder's vocabulary with the vectors of textual inversions behind it. */
export interface GrownVocabulary {
  readonly added: readonly AddedToken[];
  readonly vocabSize: number;
  /** The encoder's weights with the rows behind those of its table. */
  grow(weights: WeightSource): WeightSource;
}

/** The table of tokens in a CLIP text encoder. */
const TABLE = 'text_model.embeddings.token_embedding.weight';

/**
 * The vocabulary of an encoder of this width with the inversions that are for it. `used` gathers those, so that one which is
 * for no encoder can be refused.
 */
export function growVocabulary(
  inversions: readonly TextualInversion[],
  { vocabSize, width }: { readonly vocabSize: number; readonly width: number },
  used: Set<TextualInversion>,
): GrownVocabulary {
  const added: AddedToken[] = [];
  const rows: HostTensor[] = [];
  let next = vocabSize;
  for (const inversion of inversions) {
    const vectors = inversion.vectors.find(({ shape }) => shape[1] === width);
    if (vectors === undefined) continue;
    if (added.some(({ content }) => content === inversion.token)) {
      throw new InvalidArgumentError(
        'textualInversion',
        `two files are for the token '${inversion.token}': name one of them otherwise`,
      );
    }
    used.add(inversion);
    const id = Array.from({ length: vectors.shape[0]! }, () => next++);
    added.push({ content: inversion.token, id, normalized: true });
    rows.push(vectors);
  }
  return { added, vocabSize: next, grow: (weights) => (rows.length === 0 ? weights : withRows(weights, rows)) };
}

/** Refuses tokens that are words of the vocabulary already, which would mean something else in every prompt from then on. */
export function refuseWords(added: readonly AddedToken[], tokenizer: Tokenizer): void {
  const words = added.filter(({ content }) => tokenizer.encode(content).length === 1);
  if (words.length === 0) return;
  throw new InvalidArgumentError(
    'textualInversion',
    words.map(
      ({ content }) => `'${content}' is a word of the vocabulary: give the file another token, such as '<${content}>'`,
    ),
  );
}

function withRows(source: WeightSource, rows: readonly HostTensor[]): WeightSource {
  const table = source.tensors.get(TABLE);
  if (table === undefined) throw new InvalidFileError(source.name, `has no ${TABLE}, which textual inversions extend`);
  const [count, width] = table.shape as [number, number];
  const more = rows.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const shape = [count + more, width];
  const read = async (name: string): Promise<HostTensor> => {
    const tensor = await source.read(name);
    if (name !== TABLE) return tensor;
    const data = new Float32Array((count + more) * width);
    data.set(tensor.data);
    let at = count * width;
    for (const row of rows) {
      data.set(row.data, at);
      at += row.data.length;
    }
    return { shape, data };
  };
  return {
    name: source.name,
    tensors: new Map([...source.tensors, [TABLE, { shape, dtype: 'F32' }]]),
    read,
    ...(source.take && {
      take: async (name, keep) =>
        name === TABLE ? { ...(await read(name)), dtype: 'float32' } : source.take!(name, keep),
    }),
  };
}
