import { deriveSeed, type Seed, TorchGenerator } from '@mezzotint/random';
import type * as tf from '@tensorflow/tfjs-core';
import { canAdopt } from './adopt.js';
import { InvalidArgumentError, InvalidFileError, WeightsMismatchError } from './errors.js';
import { notFinite } from './finite.js';
import { asWeightSource, type HostTensor, type KeptType, type StateDict, type WeightSource } from './host-tensor.js';
import { Param, type StagedParam } from './param.js';
import { named } from './printable.js';

/** Keys that weights lack, keys that a module has no place for, and tensors of another shape. */
export type WeightDifferences = Pick<WeightsMismatchError, 'missing' | 'unexpected' | 'mismatched'>;

/** How weights are loaded. */
export interface LoadOptions {
  /**
   * Types that stay as the file holds them where the engine computes with them (backend-onnxruntime): 16-bit floats, which it
   * widens in its graph, and matrices in blocks; none when absent: they are widened as they are read.
   */
  readonly keep?: readonly KeptType[];
  /** Called with each tensor when it is on the device and before the next one is read: the place to store it narrower. */
  readonly onTensor?: (name: string, tensor: tf.Tensor, param: Param) => void;
}

/**
 * A plain class whose fields are its tree: the state dict is the walk over the fields in order. Arrays and plain
 * objects of modules become numbered or named levels (`time_embed.0.weight`); fields without parameters are skipped.
 * A field that holds a Param or a Module is spelled exactly as in the checkpoint that users have.
 */
export abstract class Module {
  static readonly brand: symbol = Symbol.for('mezzotint.module');

  constructor() {
    Object.defineProperty(this, Module.brand, { value: true });
  }

  /** True for a module, whichever copy of this package its class came from. */
  static isInstance(value: unknown): value is Module {
    return typeof value === 'object' && value !== null && Module.brand in value;
  }

  /** Every module below this one and itself, by path; the root has the path ''. */
  modules(): ReadonlyMap<string, Module> {
    const found = new Map<string, Module>();
    walk(this, '', (path, node) => {
      if (Module.isInstance(node)) found.set(path, node);
    });
    return found;
  }

  /** Every parameter by its state-dict key, in order. */
  params(): ReadonlyMap<string, Param> {
    const found = new Map<string, Param>();
    walk(this, '', (path, node) => {
      if (Param.isInstance(node)) found.set(path, node);
    });
    return found;
  }

  /** Draws every parameter from its own stream, seeded by (seed, path): adding a layer changes no other layer. */
  init(seed: Seed): this {
    for (const [path, param] of this.params()) param.initialize(new TorchGenerator(deriveSeed(seed, path)));
    return this;
  }

  /**
   * Loads weights strictly and all or nothing: every key must be there, no other key, every shape equal. Final: a class whose
   * files need changing overrides `adaptWeights`, so that options reach every model. Tensors are read one at a time, and an engine that computes on the host keeps the arrays that were read. When a model that has
   * weights is loaded again, both sets exist until the last tensor is read.
   *
   * @throws WeightsMismatchError with all differences; what `weights.read` throws; InvalidFileError when it returns
   *   another shape than it announced, or NaN or an infinity. Nothing was changed then.
   */
  async load(weights: StateDict | WeightSource, { keep = [], onTensor }: LoadOptions = {}): Promise<this> {
    const source = this.adaptWeights(asWeightSource(weights));
    const params = this.params();
    const { missing, unexpected, mismatched } = differences(params, source.tensors);
    if (missing.length + unexpected.length + mismatched.length > 0) {
      throw new WeightsMismatchError(this.constructor.name, missing, unexpected, mismatched);
    }
    const staged: StagedParam[] = [];
    try {
      for (const [name, param] of params) {
        const value = await stage(param, name, source, keep);
        staged.push(value);
        onTensor?.(name, value.tensor, param);
      }
    } catch (error) {
      for (const value of staged) value.discard();
      throw error;
    }
    for (const value of staged) value.commit();
    return this;
  }

  /** The state dict, in the layout of files. */
  async save(): Promise<Record<string, HostTensor>> {
    const state: Record<string, HostTensor> = {};
    for (const [name, param] of this.params()) state[name] = await param.toHost();
    return state;
  }

  /** Frees the weights; the module can be initialised or loaded again. */
  dispose(): void {
    for (const param of this.params().values()) param.dispose();
  }

  /**
   * Weights as files have them under this module's own names: a tied copy left out, a prefix added. `load` and `compare` see
   * what it gives.
   */
  adaptWeights(source: WeightSource): WeightSource {
    return source;
  }

  /** How weights differ from what this module loads, by names and shapes alone. */
  compare({ tensors }: Pick<WeightSource, 'tensors'>): WeightDifferences {
    const read = () => {
      throw new InvalidArgumentError(
        this.constructor.name,
        'adaptWeights goes by names and shapes, and reads no tensor',
      );
    };
    return differences(this.params(), this.adaptWeights({ name: 'weights', tensors, read }).tensors);
  }
}

function differences(params: ReadonlyMap<string, Param>, tensors: WeightSource['tensors']): WeightDifferences {
  const missing = [...params.keys()].filter((name) => !tensors.has(name));
  const unexpected = [...tensors.keys()].filter((name) => !params.has(name));
  const mismatched = [...params].flatMap(([name, param]) => {
    const got = tensors.get(name)?.shape;
    const expected = param.fileShape;
    return got === undefined || String(got) === String(expected)
      ? []
      : [{ name, expected: `[${expected.join(', ')}]`, got: `[${got.join(', ')}]` }];
  });
  return { missing, unexpected, mismatched };
}

/** Reads one tensor and puts it on the device: the array itself where source and engine can, else a copy. */
async function stage(
  param: Param,
  name: string,
  source: WeightSource,
  keep: readonly KeptType[],
): Promise<StagedParam> {
  const given = await source.take?.(name, canAdopt() ? keptBy(param, keep) : []);
  const tensor = given ?? (await source.read(name));
  const problem = notFinite(tensor);
  if (problem !== undefined) {
    const why = 'the file is damaged, or was saved from a training that had diverged';
    throw new InvalidFileError(source.name, `${named(name)}: ${problem}: ${why}`);
  }
  try {
    return (given && param.adopt(given)) ?? param.stage(tensor as HostTensor);
  } catch (cause) {
    if (!InvalidArgumentError.isInstance(cause)) throw cause;
    throw new InvalidFileError(source.name, `${named(name)}: ${cause.message}`, { cause });
  }
}

/** The types that a parameter may be kept in: blocks hold matrices only. */
function keptBy({ matrix }: Param, keep: readonly KeptType[]): readonly KeptType[] {
  return matrix ? keep : keep.filter((type) => type === 'float16' || type === 'bfloat16');
}

/** Visits modules and parameters in the order of the fields. Recognises those of another copy of this package. */
function walk(
  node: unknown,
  path: string,
  visit: (path: string, node: Module | Param) => void,
  above: readonly unknown[] = [],
): void {
  if (Param.isInstance(node)) {
    visit(path, node);
    return;
  }
  if (Module.isInstance(node)) visit(path, node);
  else if (!Array.isArray(node) && !isPlainObject(node)) return;
  if (above.includes(node)) {
    throw new InvalidArgumentError('Module', `${path} leads back to a level above it; hold it in a #private field`);
  }
  for (const [key, child] of Object.entries(node as object)) {
    walk(child, path === '' ? key : `${path}.${key}`, visit, [...above, node]);
  }
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
