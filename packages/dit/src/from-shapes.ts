import { InvalidArgumentError, StateShapes, type WeightSource } from '@mezzotint/core';
import { type DiTConfig, ditFromOriginal, validateDiTConfig } from './dit-config.js';

/** What neither names nor shapes of the original's files say. */
export interface DiTFileSettings {
  /** 16 for width 1152 (XL), else one for each 64 channels, as in the published sizes. */
  readonly heads?: number;
  /** False for a model whose last label is a class like the others; true when absent. */
  readonly nullLabel?: boolean;
}

/**
 * The configuration of an original DiT (Peebles and Xie 2022) from the names and shapes of its file, which has none beside it.
 *
 * @throws InvalidArgumentError when it is no DiT, or a setting is unknown or does not fit
 */
export function ditFromShapes(tensors: WeightSource['tensors'], settings: DiTFileSettings = {}): DiTConfig {
  const who = 'ditFromShapes';
  const unknown = Object.keys(settings).filter((key) => key !== 'heads' && key !== 'nullLabel');
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      who,
      unknown.map((key) => `${key}: unknown setting; a file can be given heads, nullLabel`),
    );
  }
  const shapes = new StateShapes(tensors);
  const width = shapes.axis('x_embedder.proj.weight', 0);
  const patchSize = shapes.axis('x_embedder.proj.weight', 2);
  const side = Math.sqrt(shapes.axis('pos_embed', 1));
  const rows = shapes.axis('y_embedder.embedding_table.weight', 0);
  const hidden = shapes.axis('blocks.0.mlp.fc1.weight', 0);
  const outputs = shapes.axis('final_layer.linear.weight', 0);
  const { nullLabel = true, heads = width === 1152 ? 16 : width / 64 } = settings;
  const config: DiTConfig = {
    ...ditFromOriginal({}),
    ...{ width, patchSize, heads, nullLabel },
    imageSize: side * patchSize,
    inChannels: shapes.axis('x_embedder.proj.weight', 1),
    outChannels: outputs / patchSize ** 2,
    depth: shapes.count('blocks'),
    mlpRatio: hidden / width,
    classes: nullLabel ? rows - 1 : rows,
    qkvBias: shapes.has('blocks.0.attn.qkv.bias'),
  };
  shapes.check(who);
  validateDiTConfig(who, config);
  return config;
}
