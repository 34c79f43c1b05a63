import { encodeModel } from '../onnx/model.js';
import { nativeBinding } from './binding.js';

let known: number | undefined;

/**
 * Channels in a block of ONNX Runtime's internal image layout (16 with AVX-512, 8 with AVX2), found by asking it to
 * reorder a tensor whose elements are their own channel numbers; 0 where its build or the processor has none.
 */
export function probeBlockSize(): number {
  known ??= probe();
  return known;
}

function probe(): number {
  const channels = 64;
  const pixels = 2;
  const value = (name: string) => ({ name, type: 'float32' as const, shape: [1, channels, 1, pixels] });
  const bytes = encodeModel({
    nodes: [{ op: 'ReorderInput', domain: 'com.microsoft.nchwc', inputs: ['x'], outputs: ['y'] }],
    inputs: [value('x')],
    outputs: [value('y')],
    constants: [],
  });
  const { InferenceSession } = nativeBinding();
  const session = new InferenceSession();
  const tensor = (data: Float32Array) => ({
    type: 'float32',
    dims: [1, channels, 1, pixels],
    data,
    location: 'cpu' as const,
  });
  const out = new Float32Array(channels * pixels);
  try {
    session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  } catch {
    return 0; // and nothing to dispose
  }
  try {
    const input = Float32Array.from(out, (_, index) => Math.floor(index / pixels));
    session.run({ x: tensor(input) }, { y: tensor(out) }, {});
  } catch {
    return 0;
  } finally {
    session.dispose();
  }
  // Blocked: the channels 0 .. block - 1 of the first pixel come first.
  let block = 0;
  while (block < channels && out[block] === block) block++;
  const blocked = block > 1 && out[block] === 0 && out.every((_, at) => out[at] === channelAt(at, block, pixels));
  return blocked ? block : 0;
}

function channelAt(index: number, block: number, pixels: number): number {
  return Math.floor(index / (block * pixels)) * block + (index % block);
}
