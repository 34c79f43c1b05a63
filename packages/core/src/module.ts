import { WeightsMismatchError } from './errors.js';
import type { HostTensor, StateDict, WeightSource } from './host-tensor.js';
import { Param } from './param.js';
import { deriveSeed } from './random/derive-seed.js';
import { TorchGenerator } from './random/torch-generator.js';

/**
 * A plain class whose fields are its tree: the state dict is the walk over the fields in order. Arrays and plain
 * objects of modules become numbered or named levels (`time_embed.0.weight`); fields without parameters are skipped.
 * A field that holds a Param or a Module is spelled exactly as in the checkpoint that users have.
 */
export abstract class Module {
  /** Every module below this one and itself, by path; the root has the path ''. */
  modules(): ReadonlyMap<string, Module> {
    const found = new Map<string, Module>();
    walk(this, '', (path, node) => {
      if (node instanceof Module) found.set(path, node);
    });
    return found;
  }

  /** Every parameter by its state-dict key, in order. */
  params(): ReadonlyMap<string, Param> {
    const found = new Map<string, Param>();
    walk(this, '', (path, node) => {
      if (node instanceof Param) found.set(path, node);
    });
    return found;
  }

  /** Draws every parameter from its own stream, seeded by (seed, path): adding a layer changes no other layer. */
  init(seed: number): this {
    for (const [path, param] of this.params()) param.initialize(new TorchGenerator(deriveSeed(seed, path)));
    return this;
  }

  /**
   * Loads weights strictly: every key must be there, no other key, every shape equal; else a WeightsMismatchError with
   * all differences, and nothing changed.
   */
  async load(weights: StateDict | WeightSource): Promise<this> {
    const source = isSource(weights) ? weights : fromStateDict(weights);
    const params = this.params();
    const missing = [...params.keys()].filter((name) => !source.tensors.has(name));
    const unexpected = [...source.tensors.keys()].filter((name) => !params.has(name));
    const mismatched = [...params].flatMap(([name, param]) => {
      const got = source.tensors.get(name)?.shape;
      const expected = param.fileShape;
      return got === undefined || String(got) === String(expected)
        ? []
        : [{ name, expected: `[${expected.join(', ')}]`, got: `[${got.join(', ')}]` }];
    });
    if (missing.length + unexpected.length + mismatched.length > 0) {
      throw new WeightsMismatchError(this.constructor.name, missing, unexpected, mismatched);
    }
    for (const [name, param] of params) param.fromHost(await source.read(name));
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
}

function walk(node: unknown, path: string, visit: (path: string, node: Module | Param) => void): void {
  if (node instanceof Param) {
    visit(path, node);
    return;
  }
  if (node instanceof Module) visit(path, node);
  else if (!Array.isArray(node) && !isPlainObject(node)) return;
  for (const [key, child] of Object.entries(node as object)) walk(child, path === '' ? key : `${path}.${key}`, visit);
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isSource(weights: StateDict | WeightSource): weights is WeightSource {
  return typeof (weights as WeightSource).read === 'function';
}

function fromStateDict(state: StateDict): WeightSource {
  return {
    name: 'state dict',
    tensors: new Map(Object.entries(state).map(([name, t]) => [name, { shape: t.shape, dtype: 'float32' }])),
    read: (name) => state[name]!,
  };
}
