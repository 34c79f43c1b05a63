import {
  asWeightSource,
  type HostTensor,
  InvalidArgumentError,
  type StateDict,
  type WeightSource,
} from '@mezzotint/core';
import { writeFileAtomically } from '@mezzotint/core/node';
import type { FloatDType } from '../numbers/dtypes.js';
import { narrow } from '../numbers/narrow.js';
import { isQuantizable, rowCodes, rowScales, scaleName } from '../quantized/int8.js';
import { checkTensor, type PlannedTensor, planSafetensors } from '../safetensors/layout.js';
import { openSafetensorsSync, type SyncWeightFile } from '../safetensors/open.js';
import { openFile } from './file-source.js';

/**
 * Opens a safetensors file: reads and checks the header at once, each tensor when asked for (a range read: one tensor
 * is resident at a time), widened to float32 or int32. `close()` it when done.
 * Throws an InvalidFileError when the file is missing, truncated, or lies about its tensors.
 */
export function readSafetensors(path: string): SyncWeightFile {
  const file = openFile(path);
  try {
    return openSafetensorsSync(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** How a safetensors file is written. */
export interface WriteSafetensorsOptions {
  /** Notes for the header's `__metadata__`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * Type of the floats, `F32` when absent; rounded to nearest even. Integers are written as I32. `I8`: weights of layers in 8 bits with
   * a scale a row beside them (`weight_scale`), as ComfyUI writes them and `openWeights` reads them; all other floats as F16.
   */
  readonly dtype?: FloatDType | 'I8';
  /** Replace an existing file. */
  readonly overwrite?: boolean;
}

/**
 * Writes a safetensors file, all or nothing (see `writeFileAtomically`), tensor by tensor; equal input gives equal
 * bytes. Throws an InvalidArgumentError for an existing file without `overwrite`, for data that does not fit its shape,
 * and for numbers that `dtype` cannot hold.
 */
export async function writeSafetensors(
  path: string,
  weights: StateDict | WeightSource,
  { metadata, dtype = 'F32', overwrite = false }: WriteSafetensorsOptions = {},
): Promise<void> {
  const source = asWeightSource(weights);
  const plan = planSafetensors(
    [...source.tensors].flatMap(([name, { shape, dtype: type }]): PlannedTensor[] => {
      if (isInteger(type)) return [{ name, shape, dtype: 'I32' }];
      if (dtype !== 'I8') return [{ name, shape, dtype }];
      if (!isQuantizable(name, shape)) return [{ name, shape, dtype: 'F16' }];
      return [
        { name, shape, dtype },
        { name: scaleName(name), shape: [shape[0]!], dtype: 'F32' },
      ];
    }),
    metadata,
  );
  const weightOf = new Map(
    plan.order.flatMap(({ name, dtype: type }) => (type === 'I8' ? [[scaleName(name), name]] : [])),
  );
  await writeFileAtomically(
    path,
    async (append) => {
      append(plan.header);
      for (const tensor of plan.order) {
        const weight = weightOf.get(tensor.name);
        append(
          weight === undefined
            ? encode(tensor, await source.read(tensor.name))
            : scalesOf(weight, await source.read(weight)),
        );
      }
    },
    { overwrite },
  );
}

function encode(planned: PlannedTensor, tensor: HostTensor): Uint8Array {
  checkTensor(planned, tensor);
  const { data } = tensor;
  if (data instanceof Int32Array) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return named(planned.name, () =>
    planned.dtype === 'I8' ? new Uint8Array(rowCodes(tensor).buffer) : narrow(data, planned.dtype as FloatDType),
  );
}

function scalesOf(name: string, weight: HostTensor): Uint8Array {
  return named(name, () => new Uint8Array(rowScales(weight).buffer));
}

/** Says whose numbers an error is about. */
function named(name: string, body: () => Uint8Array): Uint8Array {
  try {
    return body();
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new InvalidArgumentError('writeSafetensors', `${name}: ${problem}`, { cause });
  }
}

/** Sources name their types as safetensors does or as TensorFlow.js does. */
function isInteger(dtype: string): boolean {
  return /^(?:u?int|[iu]\d|bool)/i.test(dtype);
}
