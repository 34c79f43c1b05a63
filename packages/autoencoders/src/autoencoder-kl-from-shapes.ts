import { StateShapes, type WeightSource } from '@mezzotint/core';
import type { AutoencoderKLConfig } from './autoencoder-kl.js';
import { validateCoder } from './coder/config.js';
import type { LatentScale } from './latent-scale.js';

/**
 * The configuration of a KL autoencoder from the names and shapes of its state dict in diffusers' layout, for files that
 * come without config.json. 32 groups, as in all published ones; the scale of the latent image is in no file of weights.
 *
 * @throws InvalidArgumentError when it is no such autoencoder
 */
export function autoencoderKLFromShapes(
  tensors: WeightSource['tensors'],
  { scalingFactor, shiftFactor }: LatentScale,
): AutoencoderKLConfig {
  const who = 'autoencoderKLFromShapes';
  const shapes = new StateShapes(tensors);
  const levels = Array.from({ length: shapes.count('encoder.down_blocks') }, (_, i) => `encoder.down_blocks.${i}`);
  const config: AutoencoderKLConfig = {
    inChannels: shapes.axis('encoder.conv_in.weight', 1),
    outChannels: shapes.axis('decoder.conv_out.weight', 0),
    blockChannels: levels.map((level) => shapes.axis(`${level}.resnets.0.conv1.weight`, 0)),
    layersPerBlock: shapes.count('encoder.down_blocks.0.resnets'),
    latentChannels: shapes.axis('decoder.conv_in.weight', 1),
    groups: 32,
    midAttention: shapes.has('encoder.mid_block.attentions'),
    quantConv: shapes.has('quant_conv'),
    postQuantConv: shapes.has('post_quant_conv'),
    scalingFactor,
    shiftFactor,
  };
  shapes.check(who);
  validateCoder(who, config);
  return config;
}
