import { AutoencoderTiny, autoencoderTinyFromDiffusers, taesd, taesd3 } from '@mezzotint/autoencoders';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { openComponent } from '@mezzotint/weights';
import { tinyCodec } from './codec.js';
import type { ModelFiles } from './family.js';
import type { PipelineDefinition, Stage } from './stage.js';

/** The published tiny autoencoders by their latent channels, for files without a configuration. */
const PRESETS = [taesd, taesd3];

/**
 * A definition whose previews a tiny autoencoder makes: TAESD (Bohan 2023), which decodes latent images of a large one in
 * milliseconds. Its weights are read with the network's.
 *
 * @throws InvalidArgumentError when no stage has latent images that it reads
 */
export async function withTaesd(definition: PipelineDefinition, files: ModelFiles): Promise<PipelineDefinition> {
  const fits = ({ codec }: Stage, channels: number) => codec?.tinyReads === true && codec.channels === channels;
  const channels = [...new Set(definition.stages.flatMap(({ codec }) => (codec?.tinyReads ? [codec.channels] : [])))];
  const folder = files.kind === 'folder';
  const config = folder
    ? autoencoderTinyFromDiffusers(await files.json('config.json'))
    : PRESETS.find((preset) => channels.includes(preset.config.latentChannels))?.config;
  if (config === undefined || !channels.includes(config.latentChannels)) {
    const has =
      channels.length === 0 ? 'makes no latent images that one reads' : `has ${channels.join(', ')} latent channels`;
    const got = config === undefined ? '' : `, ${files.name} reads ${config.latentChannels}`;
    throw new InvalidArgumentError('taesd', `${definition.family} ${has}${got}`);
  }
  const module = new AutoencoderTiny(config);
  const file = await files.weights('');
  try {
    const { weights } = openComponent(file);
    const { missing, mismatched } = module.compare(weights);
    if (missing.length + mismatched.length > 0) {
      throw new InvalidFileError(files.name, 'is no tiny autoencoder in the layout of diffusers (AutoencoderTiny)');
    }
    const { preview } = tinyCodec(module, []);
    return {
      ...definition,
      stages: definition.stages.map((stage) =>
        fits(stage, config.latentChannels)
          ? {
              ...stage,
              codec: { ...stage.codec!, preview: preview! },
              parts: { ...stage.parts, sample: [...stage.parts.sample, 'taesd'] },
            }
          : stage,
      ),
      parts: [...definition.parts, { name: 'taesd', module, weights }],
      close() {
        definition.close();
        file.close();
      },
    };
  } catch (error) {
    file.close();
    throw error;
  }
}
