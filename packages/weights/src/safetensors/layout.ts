import { type HostTensor, InvalidArgumentError, sizeOf } from '@mezzotint/core';
import { BYTES_PER_ELEMENT, type FloatDType } from '../numbers/dtypes.js';

/** What the header of a file to be written says of one tensor. */
export interface PlannedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: FloatDType | 'I32' | 'I8';
}

/** The reference writer's order of the types that we write. */
const DTYPE_ORDER: readonly PlannedTensor['dtype'][] = ['F32', 'I32', 'BF16', 'F16', 'I8'];

/** A file to be written: its header, and its tensors in the order of their bytes. */
export interface SafetensorsPlan {
  /** The length, the JSON and the padding that brings the data to a multiple of 8. */
  readonly header: Uint8Array;
  readonly order: readonly PlannedTensor[];
  /** Bytes of the whole file. */
  readonly size: number;
}

/**
 * Plans a safetensors file. The same names, shapes, types and metadata give the same bytes, those of the reference
 * writer: wider types first, so that every tensor is aligned to its type, then names by code point. Metadata keys are
 * sorted, where the reference's order is that of a hash table.
 * Throws an InvalidArgumentError for names, shapes or metadata that the format cannot hold.
 */
export function planSafetensors(
  tensors: Iterable<PlannedTensor>,
  metadata: Readonly<Record<string, string>> | undefined,
): SafetensorsPlan {
  const order = [...tensors].sort(
    (a, b) => DTYPE_ORDER.indexOf(a.dtype) - DTYPE_ORDER.indexOf(b.dtype) || byCodePoint(a.name, b.name),
  );
  const problems: string[] = [];
  const root: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  if (metadata !== undefined) root.__metadata__ = sortedMetadata(metadata, problems);
  let offset = 0;
  for (const { name, shape, dtype } of order) {
    if (Object.hasOwn(root, name) && name !== '__metadata__') problems.push(`${name}: two tensors of this name`);
    if (name === '__metadata__') problems.push('a tensor cannot be named __metadata__');
    else if (!isWellFormed(name)) problems.push(`the name ${JSON.stringify(name)} is not valid Unicode`);
    if (!shape.every((d) => Number.isSafeInteger(d) && d >= 0))
      problems.push(`${name}: the shape [${shape}] is not whole`);
    const end = offset + sizeOf(shape) * BYTES_PER_ELEMENT[dtype];
    root[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  if (problems.length > 0) throw new InvalidArgumentError('writeSafetensors', problems);
  const header = encodeHeader(root, order, metadata !== undefined);
  return { header, order, size: header.byteLength + offset };
}

/** Throws an InvalidArgumentError unless the tensor has the planned shape, type and number of elements. */
export function checkTensor(planned: PlannedTensor, { shape, data }: HostTensor): void {
  const dtype = data instanceof Int32Array ? 'I32' : 'float';
  if (String(shape) !== String(planned.shape) || (planned.dtype === 'I32') !== (dtype === 'I32')) {
    throw new InvalidArgumentError(
      'writeSafetensors',
      `${planned.name}: expected ${planned.dtype} of shape [${planned.shape}], got ${dtype} of shape [${shape}]`,
    );
  }
  if (data.length !== sizeOf(shape)) {
    throw new InvalidArgumentError(
      'writeSafetensors',
      `${planned.name}: the shape [${shape}] has ${sizeOf(shape)} elements, the data ${data.length}`,
    );
  }
}

function encodeHeader(
  root: Record<string, unknown>,
  order: readonly PlannedTensor[],
  hasMetadata: boolean,
): Uint8Array {
  // Written entry by entry: a plain object would move names that look like numbers to the front.
  const keys = [...(hasMetadata ? ['__metadata__'] : []), ...order.map(({ name }) => name)];
  const json = `{${keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(root[key])}`).join(',')}}`;
  const bytes = new TextEncoder().encode(json);
  const padded = Math.ceil(bytes.byteLength / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(bytes, 8);
  return header;
}

function sortedMetadata(metadata: Readonly<Record<string, string>>, problems: string[]): Record<string, string> {
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') problems.push(`metadata ${JSON.stringify(key)} is not a string`);
    else if (!isWellFormed(key) || !isWellFormed(value))
      problems.push(`metadata ${JSON.stringify(key)} is not valid Unicode`);
  }
  return Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => byCodePoint(a, b)));
}

/** As UTF-8 sorts: the bytes of the names are compared. */
function byCodePoint(a: string, b: string): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a.charCodeAt(i) !== b.charCodeAt(i)) return a.codePointAt(i)! - b.codePointAt(i)!;
  }
  return a.length - b.length;
}

/** No lone surrogates, which UTF-8 cannot carry. */
function isWellFormed(text: string): boolean {
  return !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}
