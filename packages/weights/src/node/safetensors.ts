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
  /** Type of the floats, `F32` when absent; rounded to nearest even. Integers are written as I32. */
  readonly dtype?: FloatDType;
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
    [...source.tensors].map(([name, tensor]) => ({
      name,
      shape: tensor.shape,
      dtype: isInteger(tensor.dtype) ? 'I32' : dtype,
    })),
    metadata,
  );
  await writeFileAtomically(
    path,
    async (append) => {
      append(plan.header);
      for (const tensor of plan.order) append(encode(tensor, await source.read(tensor.name)));
    },
    { overwrite },
  );
}

function encode(planned: PlannedTensor, tensor: HostTensor): Uint8Array {
  checkTensor(planned, tensor);
  const { data } = tensor;
  if (data instanceof Int32Array) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  try {
    return narrow(data, planned.dtype as FloatDType);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new InvalidArgumentError('writeSafetensors', `${planned.name}: ${problem}`, { cause });
  }
}

/** Sources name their types as safetensors does or as TensorFlow.js does. */
function isInteger(dtype: string): boolean {
  return /^(?:u?int|[iu]\d|bool)/i.test(dtype);
}
