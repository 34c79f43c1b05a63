import { type Adoption, sizeOf } from '@mezzotint/core';
import type { BackendTimingInfo, backend_util, DataType, TensorInfo } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { LazyGraph } from './graph/graph.js';
import { isStretched, rowMajor, stretched, transposed } from './graph/layout.js';
import { Value } from './graph/value.js';
import { BufferPool, type StoredType } from './memory/buffer-pool.js';
import { gather, HostBuffer } from './memory/host-buffer.js';
import {
  type Blocks,
  encode16,
  encodeBlocks,
  largestMagnitude,
  type Narrow,
  type SixteenBit,
  storedBlocks,
} from './memory/narrow.js';
import { probeBlockSize } from './native/block-size.js';
import { defaultOptions, type EngineOptions } from './session/engine.js';
import { Executor } from './session/executor.js';
import { checkProvider } from './session/provider.js';

type Values = backend_util.BackendValues;

/** True for elements that are kept in a format already. */
function isOf(narrow: Narrow, format: SixteenBit | Pick<Blocks, 'bits' | 'block' | 'integer'>): boolean {
  if (narrow.kind !== 'blocks' || typeof format === 'string') return narrow.kind === format;
  return narrow.bits === format.bits && narrow.block === format.block && narrow.integer === format.integer;
}

/** What a data id stands for: a lazy value, the strings themselves, or the two parts of complex numbers. */
type Entry =
  | ValueEntry
  | { kind: 'strings'; refCount: number; strings: Uint8Array[] }
  | { kind: 'complex'; refCount: number; real: TensorInfo; imag: TensorInfo };

interface ValueEntry {
  readonly kind: 'value';
  refCount: number;
  readonly value: Value;
  /** How many data ids stand for the same data (reshapes of each other), where there are several. */
  sharers?: { count: number };
}

export interface BackendOptions extends Partial<EngineOptions> {
  /** Pending nodes at which a graph that nobody reads is cut and run; 20,000 when absent. */
  readonly maxPendingNodes?: number;
  /** Bytes of freed buffers kept for reuse; 1 GiB when absent. */
  readonly poolBytes?: number;
}

/** What the engine did so far. */
export interface EngineStatistics {
  readonly pendingNodes: number;
  readonly programs: number;
  readonly compiled: number;
  readonly reused: number;
  readonly pooledBytes: number;
}

/**
 * A TensorFlow.js backend that writes down what is asked for and runs it, as one ONNX graph, when a number is read or a
 * step ends. Graphs are compiled once for each structure and kept.
 */
export class OnnxRuntimeBackend extends tf.KernelBackend {
  readonly graph: LazyGraph;
  readonly executor: Executor;
  readonly #data: tf.DataStorage<Entry>;
  readonly #pool: BufferPool;
  /** Of arrays out of files: they are of sizes that no result has, so they are forgotten when they are freed. */
  readonly #forgets = new BufferPool(0);

  /** Throws where onnxruntime-node does not load, or the execution provider does not run (`checkProvider`). */
  constructor({ threads, provider, maxPendingNodes = 20_000, poolBytes = 2 ** 30 }: BackendOptions = {}) {
    super();
    const options = { threads: threads ?? defaultOptions.threads, provider: provider ?? defaultOptions.provider };
    checkProvider(options.provider);
    this.#pool = new BufferPool(poolBytes);
    this.executor = new Executor(this.#pool, options, options.provider === 'cpu' ? probeBlockSize() : 0);
    this.graph = new LazyGraph((cone) => this.executor.run(cone), maxPendingNodes);
    this.#data = new tf.DataStorage<Entry>(this, tf.engine());
  }

  /** Channels in a block of the blocked image layout; 0 where the processor or provider has none. */
  get blockSize(): number {
    return this.executor.blockSize;
  }

  /** Runs everything that is pending and still wanted: the end of a step. */
  stepBoundary(): void {
    this.graph.flushAll();
  }

  statistics(): EngineStatistics {
    const { programs } = this.executor;
    return {
      pendingNodes: this.graph.pendingNodes,
      programs: programs.size,
      compiled: programs.misses,
      reused: programs.hits,
      pooledBytes: this.#pool.heldBytes,
    };
  }

  /** The lazy value of a tensor. */
  lazy({ dataId }: TensorInfo): Value {
    const entry = this.#data.get(dataId);
    if (entry.kind !== 'value') throw new Error(`a ${entry.kind} tensor has no numeric value`);
    return entry.value;
  }

  /** The value of a tensor, computed now if it was pending, in whatever layout. */
  stored(info: TensorInfo): Value {
    const value = this.lazy(info);
    if (value.pending) this.graph.read(value, this.#temporaries(), false);
    return value;
  }

  /** True when one tensor alone holds the value, so that nobody else would see it change. */
  ownedAlone(info: TensorInfo): boolean {
    return this.#data.get(info.dataId).refCount === 1 && this.lazy(info).handles === 1;
  }

  /** Keeps a float32 tensor's elements in fewer bits from now on; everybody who holds its value sees the rounded ones. */
  narrow(info: TensorInfo, format: SixteenBit | Pick<Blocks, 'bits' | 'block' | 'integer' | 'fed'>): Narrow {
    const value = this.stored(info);
    const buffer = value.buffer!;
    if (buffer.narrowed !== undefined && isOf(buffer.narrowed, format)) return buffer.narrowed;
    // Blocks are rows of the matrix; the others keep the layout that they have come to have.
    const isBlocks = typeof format === 'object';
    const layout = isBlocks || isStretched(buffer.layout) ? rowMajor(value.shape) : buffer.layout;
    const data = layout === buffer.layout ? buffer.data : gather(buffer.data, value.type, buffer.layout);
    const narrow: Narrow = isBlocks
      ? encodeBlocks(data as Float32Array, format.bits, format.block, format)
      : { kind: format, data: encode16(data as Float32Array, format) };
    value.buffer = HostBuffer.narrow(narrow, layout, this.#pool);
    value.fill = undefined;
    buffer.drop();
    return narrow;
  }

  /** Keeps a tensor's elements in float32 again; gives what they were kept in, or undefined where they were float32. */
  widen(info: TensorInfo): Narrow | undefined {
    const value = this.stored(info);
    const buffer = value.buffer!;
    const narrow = buffer.narrowed;
    if (narrow === undefined) return undefined;
    value.buffer = HostBuffer.of(buffer.data, buffer.layout, this.#pool);
    buffer.drop();
    return narrow;
  }

  /** The largest magnitude of a float32 tensor; NaN where an element is. Elements that are kept in fewer bits are not looked at: 0. */
  largest(info: TensorInfo): number {
    const { buffer } = this.stored(info);
    if (buffer!.narrowed !== undefined) return 0;
    return largestMagnitude(buffer!.data as Float32Array);
  }

  /** A new tensor that holds a value. */
  tensorOf(value: Value): TensorInfo {
    const dataId = {};
    this.graph.hold(value);
    this.#data.set(dataId, { kind: 'value', refCount: 1, value });
    return { dataId, shape: [...value.shape], dtype: value.type };
  }

  /**
   * A new tensor of the data of `source` under another shape. On other engines the two have one data id, so TensorFlow.js is
   * to count their memory as one buffer here too, as long as either lives.
   */
  viewOf(value: Value, source: TensorInfo): TensorInfo {
    const made = this.tensorOf(value);
    const own = this.#data.get(source.dataId) as ValueEntry;
    own.sharers ??= { count: 1 };
    own.sharers.count++;
    (this.#data.get(made.dataId) as ValueEntry).sharers = own.sharers;
    tf.engine().state.numDataBuffers--; // It is about to count the new data id.
    return made;
  }

  /** A tensor whose elements are all `fill`; memory holds one. */
  filled(shape: readonly number[], type: StoredType, fill: number): Value {
    const value = new Value(shape, type);
    value.buffer = this.executor.filled(fill, type, stretched(shape));
    if (fill === 0 || fill === 1) value.fill = fill;
    return value;
  }

  /** A complex tensor of two float32 ones, which it then owns. */
  complexOf(real: TensorInfo, imag: TensorInfo): TensorInfo {
    const dataId = {};
    this.#data.set(dataId, { kind: 'complex', refCount: 1, real, imag });
    return { dataId, shape: real.shape, dtype: 'complex64' };
  }

  partsOf({ dataId }: TensorInfo): { readonly real: TensorInfo; readonly imag: TensorInfo } {
    const entry = this.#data.get(dataId);
    if (entry.kind !== 'complex') throw new Error('expected a complex tensor');
    return entry;
  }

  override write(values: Values | null, shape: number[], dtype: DataType): object {
    const dataId = {};
    this.move(dataId, values as Values, shape, dtype, 1);
    return dataId;
  }

  override move(dataId: object, values: Values, shape: number[], dtype: DataType, refCount: number): void {
    if (dtype === 'string') {
      this.#data.set(dataId, { kind: 'strings', refCount, strings: values as Uint8Array[] });
      return;
    }
    if (dtype === 'complex64') {
      // Another backend that moves its tensor here gives the numbers in pairs.
      const { real, imag } = (
        values instanceof Float32Array ? tf.backend_util.splitRealAndImagArrays(values) : values
      ) as { real: Float32Array; imag: Float32Array };
      const part = (numbers: Float32Array): TensorInfo => ({
        dataId: this.write(numbers, shape, 'float32'),
        shape,
        dtype: 'float32',
      });
      this.#data.set(dataId, { kind: 'complex', refCount, real: part(real), imag: part(imag) });
      return;
    }
    const value = new Value([...shape], dtype as StoredType);
    // The caller may change its array before the graph runs, so the elements are copied now.
    const data = this.#pool.take(value.type, sizeOf(shape));
    if (values == null) data.fill(0);
    else data.set(values as Float32Array);
    // Any byte but 0 is true (a mask of 0 and 255), and ONNX Runtime's logic takes 1 for it.
    if (dtype === 'bool') for (let i = 0; i < data.length; i++) data[i] = Number(data[i] !== 0);
    value.buffer = HostBuffer.of(data, rowMajor(shape), this.#pool);
    this.graph.hold(value);
    this.#data.set(dataId, { kind: 'value', refCount, value });
  }

  /** A float32 tensor of an array that the caller gives up (`adopt` of core). */
  adopt(given: Adoption): TensorInfo {
    const { data, dtype, shape, order } = given;
    const value = new Value([...shape], 'float32');
    const asGiven = rowMajor(order.map((axis) => shape[axis]!));
    const layout = transposed(
      asGiven,
      shape.map((_, axis) => order.indexOf(axis)),
    );
    value.buffer =
      data instanceof Float32Array
        ? HostBuffer.of(data, layout, this.#forgets)
        : HostBuffer.narrow(
            'scales' in given
              ? storedBlocks(given.data, given.scales, dtype === 'q4_0' ? 4 : 8)
              : { kind: dtype as SixteenBit, data: data as Uint16Array },
            layout,
            this.#forgets,
          );
    return this.tensorOf(value);
  }

  override async read(dataId: object): Promise<Values> {
    return this.readSync(dataId);
  }

  override readSync(dataId: object): Values {
    const entry = this.#data.get(dataId);
    if (entry.kind === 'strings') return entry.strings.slice();
    if (entry.kind === 'complex') {
      return tf.backend_util.mergeRealAndImagArrays(
        this.readSync(entry.real.dataId) as Float32Array,
        this.readSync(entry.imag.dataId) as Float32Array,
      );
    }
    const { value } = entry;
    if (value.pending) this.graph.read(value, this.#temporaries());
    return value.buffer!.read(value.type);
  }

  override numDataIds(): number {
    return this.#data.numDataIds();
  }

  override refCount(dataId: object): number {
    return this.#data.has(dataId) ? this.#data.get(dataId).refCount : 0;
  }

  override incRef(dataId: object): void {
    this.#data.get(dataId).refCount++;
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.#data.has(dataId)) return true;
    const entry = this.#data.get(dataId);
    entry.refCount--;
    if (!force && entry.refCount > 0) return false;
    this.#data.delete(dataId);
    if (entry.kind === 'value') {
      this.graph.letGo(entry.value);
      // TensorFlow.js takes the buffer off its count now, but others still look at the data.
      if (entry.sharers !== undefined && --entry.sharers.count > 0) tf.engine().state.numDataBuffers++;
    }
    if (entry.kind === 'complex') {
      this.disposeData(entry.real.dataId, true);
      this.disposeData(entry.imag.dataId, true);
    }
    return true;
  }

  override timerAvailable(): boolean {
    return true;
  }

  override async time(query: () => void): Promise<BackendTimingInfo> {
    this.stepBoundary();
    const start = performance.now();
    query();
    this.stepBoundary();
    return { kernelMs: performance.now() - start };
  }

  override memory(): { unreliable: boolean; reasons?: string[] } {
    return { unreliable: false };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {
    this.executor.programs.clear();
    this.#pool.clear();
  }

  /**
   * Values of tensors that an open `tf.tidy` will free: a read in its middle would else turn every intermediate of the
   * step into an output.
   */
  #temporaries(): ReadonlySet<Value> {
    const values = new Set<Value>();
    for (const { track } of tf.engine().state.scopeStack) {
      for (const { dataId, kept } of track) {
        if (kept || !this.#data.has(dataId)) continue;
        const entry = this.#data.get(dataId);
        if (entry.kind === 'value') values.add(entry.value);
      }
    }
    return values;
  }
}
