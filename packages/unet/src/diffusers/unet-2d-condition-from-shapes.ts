import { StateShapes, type WeightSource } from '@mezzotint/core';
import { stableDiffusionSettings } from './stable-diffusion-settings.js';
import { type UNet2DConditionConfig, validateUNet2DConditionConfig } from './unet-2d-condition-config.js';

/** Channels of a head where the transformers have linear maps (Stable Diffusion 2, XL). */
const HEAD_WIDTH = 64;
/** Heads where they have convolutions (Stable Diffusion 1). */
const HEADS = 8;
/** Width of the sinusoidal embedding of each of XL's numbers. */
const NUMBER_WIDTH = 256;

/**
 * The configuration of a Stable Diffusion UNet (1, 2, XL, refiner, inpainting) from the names and shapes of its state dict
 * in diffusers' layout, for files that come without config.json. What shapes do not say is as in all published models:
 * 32 groups, 8 heads (1.x) or heads of 64 channels (2.x, XL), sinusoidal embeddings of 256 channels.
 *
 * @throws InvalidArgumentError when it is no such UNet
 */
export function unet2dConditionFromShapes(tensors: WeightSource['tensors']): UNet2DConditionConfig {
  const who = 'unet2dConditionFromShapes';
  const shapes = new StateShapes(tensors);
  const levels = Array.from({ length: shapes.count('down_blocks') }, (_, level) => level);
  const down = levels.map((level) => `down_blocks.${level}`);
  const up = levels.map((level) => `up_blocks.${levels.length - 1 - level}`);
  const mid = shapes.has('mid_block');
  const blockChannels = down.map((block) => shapes.axis(`${block}.resnets.0.conv1.weight`, 0));
  // Where a level has transformers; the middle's count as the lowest level's.
  const places = levels.map((level) =>
    [down[level]!, up[level]!, ...(mid && level === levels.length - 1 ? ['mid_block'] : [])]
      .map((block) => `${block}.attentions.0`)
      .find((attention) => shapes.has(attention)),
  );
  const attention = places.find((place) => place !== undefined) ?? 'mid_block.attentions.0';
  const contextWidth = shapes.axis(`${attention}.transformer_blocks.0.attn2.to_k.weight`, 1);
  const linearProjection = shapes.rank(`${attention}.proj_in.weight`) === 2;
  const sees = (level: number, width: number) => {
    const key = `${places[level]}.transformer_blocks.0.attn1.to_k.weight`;
    const own = blockChannels[level]!;
    return places[level] !== undefined && own !== width && shapes.axis(key, 1) === width;
  };
  const config: UNet2DConditionConfig = {
    ...stableDiffusionSettings,
    inChannels: shapes.axis('conv_in.weight', 1),
    outChannels: shapes.axis('conv_out.weight', 0),
    blockChannels,
    resBlocks: down.map((block) => shapes.count(`${block}.resnets`)),
    downAttention: down.map((block) => shapes.has(`${block}.attentions`)),
    upAttention: up.map((block) => shapes.has(`${block}.attentions`)),
    downResample: levels.map(() => 'conv'),
    upResample: levels.map(() => 'conv'),
    mid: mid ? (shapes.has('mid_block.attentions') ? 'transformer' : 'residual') : null,
    heads: blockChannels.map((width) => (linearProjection ? Math.max(1, Math.floor(width / HEAD_WIDTH)) : HEADS)),
    depth: places.map((place) => (place === undefined ? 1 : shapes.count(`${place}.transformer_blocks`))),
    onlyCrossAttention: levels.map((level) => sees(level, contextWidth)),
    linearProjection,
    contextWidth,
    timeCondProjDim: shapes.has('time_embedding.cond_proj') ? shapes.axis('time_embedding.cond_proj.weight', 1) : null,
    classes: classesOf(shapes),
    textTime: shapes.has('add_embedding')
      ? { numberWidth: NUMBER_WIDTH, width: shapes.axis('add_embedding.linear_1.weight', 1) }
      : null,
  };
  shapes.check(who);
  validateUNet2DConditionConfig(who, config);
  return config;
}

function classesOf(shapes: StateShapes): UNet2DConditionConfig['classes'] {
  if (shapes.has('class_embedding.linear_1')) return { vector: shapes.axis('class_embedding.linear_1.weight', 1) };
  return shapes.has('class_embedding.weight') ? { table: shapes.axis('class_embedding.weight', 0) } : null;
}
