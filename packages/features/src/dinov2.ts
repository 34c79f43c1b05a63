import {
  asWeightSource,
  countProblems,
  type HostTensor,
  InvalidArgumentError,
  Module,
  NameTree,
  normal,
  type OtherArchitecture,
  ones,
  Param,
  type StateDict,
  throwIf,
  type WeightSource,
  zeros,
} from '@mezzotint/core';
import { attention, gelu, joinHeads, LayerNorm, Linear, PatchEmbed, silu, splitHeads } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureNetwork, FeatureNetworkRecord } from './feature-network.js';
import {
  asColour,
  imageNet,
  pillowBicubic,
  type ResizeMethod,
  resamplingMatrix,
  resizeImages,
  standardize,
  torchBicubic,
} from './resize.js';

/** Configuration of {@link DinoV2}. A plain JSON value. */
export interface DinoV2Config {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Two-layer network with GELU, or the gated one of ViT-g. */
  readonly mlp: 'gelu' | 'swiglu';
  /** Register tokens; 0 in the first models, 4 in those of Darcet et al. 2024. */
  readonly registers: number;
  /** Patches a side of the position table in the file: 37 (pictures of 518). */
  readonly positions: number;
  /** Pixels a side of a patch. */
  readonly patchSize: number;
  /**
   * How positions are stretched to other grids: `offset` as in the first models' code (PyTorch bicubic by the factor
   * (side + 0.1) / positions), `antialias` as in that of the models with registers, `exact` as transformers does it for the
   * first models.
   */
  readonly stretching: 'offset' | 'antialias' | 'exact';
}

/**
 * DINOv2's vision transformer. M. Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision" (2023); registers:
 * T. Darcet et al., "Vision Transformers Need Registers" (2024). State: the names of the published `dinov2_vit*_pretrain.pth`.
 */
export class DinoV2 extends Module {
  readonly config: DinoV2Config;
  readonly cls_token: Param;
  readonly pos_embed: Param;
  readonly register_tokens?: Param;
  readonly mask_token: Param;
  readonly patch_embed: PatchEmbed;
  readonly blocks: readonly Block[];
  readonly norm: LayerNorm;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: DinoV2Config) {
    super();
    const { width, layers, heads, registers, positions, patchSize } = config;
    const problems = countProblems({ width, layers, heads, positions, patchSize });
    if (problems.length === 0 && width % heads !== 0)
      problems.push(`heads: ${heads} do not divide a width of ${width}`);
    throwIf('DinoV2', problems);
    this.config = config;
    const token = (count: number) => new Param([1, count, width], { init: normal(0.02) });
    this.cls_token = token(1);
    this.pos_embed = token(1 + positions * positions);
    if (registers > 0) this.register_tokens = token(registers);
    this.mask_token = new Param([1, width], { init: zeros });
    this.patch_embed = new PatchEmbed(patchSize, 3, width);
    this.blocks = Array.from({ length: layers }, () => new Block(config));
    this.norm = new LayerNorm(width, { epsilon: 1e-6 });
  }

  /**
   * The class token after the last norm, `[N, D]`.
   *
   * @param x standardised pictures `[N, H, W, 3]`, sides that the patch size divides
   */
  forward(x: tf.Tensor4D): tf.Tensor2D {
    const { patchSize: p, width } = this.config;
    const fits = x.rank === 4 && x.shape[3] === 3 && x.shape[1] % p === 0 && x.shape[2] % p === 0;
    throwIf('DinoV2', fits ? [] : [`x: expected [N, H, W, 3] with sides that ${p} divides, got [${x.shape}]`]);
    const [n, height, w] = x.shape;
    return tf.tidy(() => {
      const each = (token: Param) => tf.add(tf.zeros([n, token.shape[1]!, width]), token.value) as tf.Tensor3D;
      const patches = this.patch_embed.forward(x); //                                           [N, T, D]
      const placed = tf.add(
        tf.concat([each(this.cls_token), patches], 1),
        this.positionsFor([height / p, w / p]),
      ) as tf.Tensor3D; //                                                                       [N, 1 + T, D]
      let h = this.register_tokens
        ? tf.concat(
            [tf.slice(placed, [0, 0, 0], [-1, 1, -1]), each(this.register_tokens), tf.slice(placed, [0, 1, 0])],
            1,
          )
        : placed; //                                                                             [N, 1 + R + T, D]
      for (const block of this.blocks) h = block.forward(h);
      return tf.reshape(this.norm.forward(tf.slice(h, [0, 0, 0], [-1, 1, -1])), [n, width]);
    });
  }

  /** Positions of the class token and of a grid of patches, `[1, 1 + rows columns, D]`. */
  private positionsFor([rows, columns]: readonly [number, number]): tf.Tensor {
    const { positions: side, width, stretching } = this.config;
    if (rows === side && columns === side) return this.pos_embed.value;
    const method: ResizeMethod = stretching === 'antialias' ? pillowBicubic : torchBicubic;
    const matrix = (to: number) => {
      const ratio = stretching === 'offset' ? side / (to + 0.1) : side / to;
      return tf.tensor2d(resamplingMatrix(side, to, method, ratio), [to, side]);
    };
    const table = tf.slice(this.pos_embed.value, [0, 1, 0], [1, -1, -1]);
    const tall = tf.matMul(matrix(rows), tf.reshape(table, [side, side * width])); //             [rows, side D]
    const turned = tf.reshape(tf.transpose(tf.reshape(tall, [rows, side, width]), [1, 0, 2]), [side, rows * width]);
    const wide = tf.reshape(tf.matMul(matrix(columns), turned as tf.Tensor2D), [columns, rows, width]);
    const grid = tf.reshape(tf.transpose(wide, [1, 0, 2]), [1, rows * columns, width]);
    return tf.concat([tf.slice(this.pos_embed.value, [0, 0, 0], [1, 1, -1]), grid], 1);
  }
}

/** h = x + g1 attention(norm(x)), then h + g2 mlp(norm(h)), the gates g one learned number a channel. `[N, T, D]` both. */
class Block extends Module {
  readonly norm1: LayerNorm;
  readonly attn: { readonly qkv: Linear; readonly proj: Linear };
  readonly ls1: { readonly gamma: Param };
  readonly norm2: LayerNorm;
  readonly mlp: Mlp | GatedMlp;
  readonly ls2: { readonly gamma: Param };
  readonly heads: number;

  constructor({ width, heads, mlp }: DinoV2Config) {
    super();
    const gate = () => ({ gamma: new Param([width], { init: ones }) });
    this.norm1 = new LayerNorm(width, { epsilon: 1e-6 });
    this.attn = { qkv: new Linear(width, 3 * width), proj: new Linear(width, width) };
    this.ls1 = gate();
    this.norm2 = new LayerNorm(width, { epsilon: 1e-6 });
    this.mlp = mlp === 'gelu' ? new Mlp(width) : new GatedMlp(width);
    this.ls2 = gate();
    this.heads = heads;
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const parts = tf.split(this.attn.qkv.forward(this.norm1.forward(x)), 3, 2) as tf.Tensor3D[];
      const [q, k, v] = parts.map((part) => splitHeads(part, this.heads)); //                    [N, h, T, d]
      const attended = this.attn.proj.forward(joinHeads(attention(q!, k!, v!, { by: this })));
      const h = tf.add(x, tf.mul(attended, this.ls1.gamma.value)) as tf.Tensor3D;
      return tf.add(h, tf.mul(this.mlp.forward(this.norm2.forward(h)), this.ls2.gamma.value));
    });
  }
}

/** Two linear layers with GELU between, four times as wide inside. */
class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;

  constructor(width: number) {
    super();
    this.fc1 = new Linear(width, 4 * width);
    this.fc2 = new Linear(4 * width, width);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => this.fc2.forward(gelu(this.fc1.forward(x), 'erf')));
  }
}

/** w3(silu(a) b), (a, b) = w12(x). N. Shazeer, "GLU Variants Improve Transformer" (2020). */
class GatedMlp extends Module {
  readonly w12: Linear;
  readonly w3: Linear;

  constructor(width: number) {
    super();
    const hidden = 8 * Math.ceil(Math.floor((8 * width) / 3) / 8); // two thirds of 4 D, to a multiple of 8
    this.w12 = new Linear(width, 2 * hidden);
    this.w3 = new Linear(hidden, width);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const [a, b] = tf.split(this.w12.forward(x), 2, 2) as [tf.Tensor3D, tf.Tensor3D];
      return this.w3.forward(tf.mul(silu(a), b) as tf.Tensor3D);
    });
  }
}

/** The published names (right) of transformers' (left), old ones and those of version 5; after '#' the part of a joined matrix. */
const transformersNames: readonly (readonly [RegExp, string])[] = [
  [/^embeddings\.(cls_token|mask_token|register_tokens)$/, '$1'],
  [/^embeddings\.position_embeddings$/, 'pos_embed'],
  [/^embeddings\.patch_embeddings\.projection\.(\w+)$/, 'patch_embed.proj.$1'],
  [/^layernorm\.(\w+)$/, 'norm.$1'],
  [/^encoder\.layer\.(\d+)\.(norm[12]\.\w+)$/, 'blocks.$1.$2'],
  [/^encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1$/, 'blocks.$1.ls$2.gamma'],
  [/^encoder\.layer\.(\d+)\.attention\.(?:attention\.query|q_proj)\.(\w+)$/, 'blocks.$1.attn.qkv.$2#0'],
  [/^encoder\.layer\.(\d+)\.attention\.(?:attention\.key|k_proj)\.(\w+)$/, 'blocks.$1.attn.qkv.$2#1'],
  [/^encoder\.layer\.(\d+)\.attention\.(?:attention\.value|v_proj)\.(\w+)$/, 'blocks.$1.attn.qkv.$2#2'],
  [/^encoder\.layer\.(\d+)\.attention\.(?:output\.dense|o_proj)\.(\w+)$/, 'blocks.$1.attn.proj.$2'],
  [/^encoder\.layer\.(\d+)\.mlp\.(fc[12]\.\w+)$/, 'blocks.$1.mlp.$2'],
  [/^encoder\.layer\.(\d+)\.mlp\.weights_in\.(\w+)$/, 'blocks.$1.mlp.w12.$2'],
  [/^encoder\.layer\.(\d+)\.mlp\.gate_proj\.(\w+)$/, 'blocks.$1.mlp.w12.$2#0'],
  [/^encoder\.layer\.(\d+)\.mlp\.up_proj\.(\w+)$/, 'blocks.$1.mlp.w12.$2#1'],
  [/^encoder\.layer\.(\d+)\.mlp\.(?:weights_out|down_proj)\.(\w+)$/, 'blocks.$1.mlp.w3.$2'],
];

/** The weights of {@link DinoV2} from a file in the published layout or in transformers' (`embeddings.cls_token`, ...). */
export function dinoV2Weights(weights: StateDict | WeightSource): WeightSource {
  const source = asWeightSource(weights);
  if (source.tensors.has('cls_token')) return source;
  const parts = new Map<string, string[]>(); // of each tensor, its names in the file: one, or q, k and v
  for (const name of source.tensors.keys()) {
    const bare = name.replace(/^dinov2(_with_registers)?\./, ''); // a classifier's file names its backbone
    const [pattern, to] = transformersNames.find(([pattern]) => pattern.test(bare)) ?? [];
    const [key, part = 0] = (pattern === undefined ? name : bare.replace(pattern, to!)).split('#') as [string, string?];
    const names = parts.get(key) ?? [];
    names[Number(part)] = name;
    parts.set(key, names);
  }
  const joined = ([first, ...rest]: readonly (readonly number[])[]) =>
    rest.reduce<readonly number[]>((shape, next) => [shape[0]! + next[0]!, ...shape.slice(1)], first!);
  const shapeOf = (names: readonly string[]) => joined(names.map((name) => source.tensors.get(name)!.shape));
  return {
    name: source.name,
    tensors: new Map([...parts].map(([key, names]) => [key, { shape: shapeOf(names), dtype: 'float32' }])),
    async read(key): Promise<HostTensor> {
      const names = parts.get(key)!;
      const tensors = await Promise.all(names.map((name) => source.read(name)));
      if (tensors.length === 1) return tensors[0]!;
      const data = Float32Array.from(tensors.flatMap((tensor) => [...tensor.data]));
      return { shape: joined(tensors.map(({ shape }) => shape)), data };
    },
  };
}

/** The configuration that the names and shapes of weights say, in either layout. Heads are 64 wide in every published model. */
export function dinoV2FromShapes(
  { name, tensors }: Pick<WeightSource, 'name' | 'tensors'>,
  {
    headWidth = 64,
    layout = 'published',
  }: { readonly headWidth?: number; readonly layout?: 'published' | 'transformers' } = {},
): DinoV2Config {
  const shape = (key: string) => tensors.get(key)?.shape;
  const [cls, table, patch] = [shape('cls_token'), shape('pos_embed'), shape('patch_embed.proj.weight')];
  if (cls === undefined || table === undefined || patch === undefined) {
    throw new InvalidArgumentError(
      'dinoV2FromShapes',
      `${name} is no DINOv2: expected cls_token, pos_embed and patch_embed.proj.weight, or transformers' embeddings.*`,
    );
  }
  const width = cls[2]!;
  const registers = shape('register_tokens')?.[1] ?? 0;
  return {
    width,
    layers: new NameTree(tensors.keys()).count('blocks'),
    heads: Math.max(1, Math.floor(width / headWidth)),
    mlp: tensors.has('blocks.0.mlp.w12.weight') ? 'swiglu' : 'gelu',
    registers,
    positions: Math.round(Math.sqrt(table[1]! - 1)),
    patchSize: patch[2]!,
    stretching: registers > 0 ? 'antialias' : layout === 'transformers' ? 'exact' : 'offset',
  };
}

/** Side of the pictures: 16 patches of 14 pixels. */
const SIDE = 224;

/** A loaded DINOv2 as a feature network: resized as in G. Stein et al., "Exposing flaws of generative model evaluation metrics" (2023). */
export function dinoV2Features(name: string, network: DinoV2): FeatureNetwork {
  const { width, registers, patchSize, stretching } = network.config;
  const side = Math.floor(SIDE / patchSize) * patchSize;
  return {
    name,
    dimension: width,
    classes: null,
    recipe:
      `DINOv2 ${width} wide${registers > 0 ? ` with ${registers} registers` : ''}, class token, positions stretched by '${stretching}'; ` +
      `Pillow bicubic with antialias in bytes to ${side} x ${side}, ImageNet mean and deviation`,
    forward: (images) =>
      tf.tidy(() => {
        const x = resizeImages(asColour(name, images), [side, side], pillowBicubic, { bytes: true });
        return { features: network.forward(standardize(x, imageNet.mean, imageNet.deviation)) };
      }),
    dispose: () => network.dispose(),
  };
}

/** Published sizes: letter, width, layers. */
const sizes = [
  ['s', 384, 12],
  ['b', 768, 12],
  ['l', 1024, 24],
  ['g', 1536, 40],
] as const;

/** The configuration of a published size. */
export function dinoV2Config(size: 's' | 'b' | 'l' | 'g', registers: 0 | 4 = 0): DinoV2Config {
  const [, width, layers] = sizes.find(([letter]) => letter === size)!;
  return {
    ...{ width, layers, heads: width / 64, mlp: size === 'g' ? 'swiglu' : 'gelu', registers },
    ...{ positions: 37, patchSize: 14, stretching: registers > 0 ? 'antialias' : 'offset' },
  };
}

/** DINOv2 in its four sizes, without and with registers. */
export const dinoV2Records: readonly FeatureNetworkRecord[] = sizes.flatMap(([size, width, layers]) =>
  ([0, 4] as const).map((registers): FeatureNetworkRecord => {
    const name = `dinov2-vit-${size}-14${registers > 0 ? '-reg' : ''}`;
    const model = `dinov2_vit${size}14`;
    const file = `${model}${registers > 0 ? '_reg4' : ''}_pretrain.pth`;
    return {
      name,
      about: `DINOv2 ViT-${size.toUpperCase()}/14${registers > 0 ? ' with registers' : ''}, ${width} features: FD-DINOv2 (Stein et al. 2023)`,
      weights: [{ file, url: `https://dl.fbaipublicfiles.com/dinov2/${model}/${file}` }],
      async open({ weights }) {
        throwIf(name, weights.length === 1 ? [] : [`expected one file of weights, got ${weights.length}`]);
        const source = dinoV2Weights(weights[0]!);
        const layout = source === weights[0] ? 'published' : 'transformers';
        const config = dinoV2FromShapes(source, { layout });
        const same = config.width === width && config.layers === layers && config.registers === registers;
        const got = `${config.layers} layers, ${config.width} wide, ${config.registers} registers`;
        throwIf(name, same ? [] : [`expected ${layers} layers, ${width} wide, ${registers} registers, got ${got}`]);
        return dinoV2Features(name, await new DinoV2(config).load(source));
      },
    };
  }),
);

/** DINOv2 in the list of architectures. */
export const dinoV2Architecture: OtherArchitecture<DinoV2> = {
  name: 'DinoV2',
  kind: 'feature-network',
  package: '@mezzotint/features',
  about: 'DINOv2, a vision transformer (Oquab et al. 2023)',
  presets: ([0, 4] as const).flatMap((registers) =>
    sizes.map(([size]) => {
      const config = dinoV2Config(size, registers);
      return {
        name: `dinov2-vit-${size}-14${registers > 0 ? '-reg' : ''}`,
        about: `DINOv2 ViT-${size.toUpperCase()}/14${registers > 0 ? ' with 4 registers (Darcet et al. 2024)' : ''}, 224x224 (Oquab et al. 2023)`,
        config,
        build: () => new DinoV2(config),
        inputs: () => [{ shape: [1, SIDE, SIDE, 3] }],
      };
    }),
  ),
  build: (config) => new DinoV2(config),
  fromShapes: (tensors) => dinoV2FromShapes({ name: 'the file', tensors }),
};
