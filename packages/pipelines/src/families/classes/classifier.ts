import { architectureOfKind } from '@mezzotint/architectures';
import { type ClassifierNetwork, InvalidFileError, type Module, readNetworkConfig } from '@mezzotint/core';
import { discreteTime, processOf, type TimeOf } from '@mezzotint/schedulers';
import { noisyClassifierFromShapes } from '@mezzotint/unet';
import { checked } from '../../checked.js';
import type { ModelFiles, OpenContext } from '../../family.js';
import { classifierConfigSchema } from '../../model-config.js';
import type { Part } from '../../stage.js';
import { numbered } from './stage.js';

/** A classifier in a stage. It sees x of a variance-preserving process, in whatever form the solver steps. */
export interface GuidingClassifier {
  readonly network: ClassifierNetwork;
  readonly part: string;
  /** The time that it is told for a noise level, by the process that it was trained under; that of the model when absent. */
  readonly timeOf?: TimeOf;
}

/** A classifier that guides a model. */
export interface OpenedClassifier {
  readonly classifier: GuidingClassifier;
  readonly part: Part;
  readonly classes: readonly string[];
  close(): void;
}

/**
 * The classifier of the option `classifier`, if any: a folder that `train` made, or the `.pt` file of guided-diffusion's.
 *
 * @throws InvalidFileError when it is none, or takes other images than the model makes
 */
export async function openGuide(
  { options, files }: Pick<OpenContext, 'options' | 'files'>,
  channels: number,
): Promise<OpenedClassifier | undefined> {
  if (options.classifier === undefined) return undefined;
  const at = files(options.classifier);
  const weights = await at.weights(at.kind === 'folder' ? 'model.safetensors' : '');
  try {
    const opened: OfFiles = at.kind === 'folder' ? await ofFolder(at) : ofFile(weights.tensors);
    const { network, classes, inChannels, timeOf } = opened;
    if (inChannels !== channels) {
      throw new InvalidFileError(at.name, `reads images of ${inChannels} channels, the model makes ${channels}`);
    }
    const module = network as unknown as Module;
    const part: Part = { name: 'classifier', module, weights };
    const classifier = { network, part: part.name, ...(timeOf && { timeOf }) };
    return { classifier, part, classes, close: () => weights.close() };
  } catch (error) {
    weights.close();
    throw error;
  }
}

/** A classifier without weights. */
interface OfFiles {
  readonly network: ClassifierNetwork;
  readonly classes: readonly string[];
  readonly inChannels: number;
  readonly timeOf?: TimeOf;
}

async function ofFolder(files: ModelFiles): Promise<OfFiles> {
  const config = checked(`${files.name}/config.json`, await files.json('config.json'), classifierConfigSchema);
  const { process } = config;
  if (process?.kind !== 'discrete') {
    throw new InvalidFileError(
      files.name,
      process === null
        ? 'knows clean images only; guidance needs one that was trained on noisy images'
        : `process: expected kind discrete, got ${process.kind}`,
    );
  }
  const architecture = architectureOfKind('classifier', config.architecture);
  const network = readNetworkConfig(architecture, config.network);
  // Building checks the configuration, which the signature takes for granted.
  const module = architecture.build(network);
  const { inChannels } = architecture.signature(network);
  return { network: module, classes: config.classes, inChannels, timeOf: discreteTime(processOf(process)) };
}

/** Classifiers of guided-diffusion were trained under the process of the models that they guide. */
function ofFile(tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly dtype: string }>): OfFiles {
  const architecture = architectureOfKind('classifier', 'NoisyClassifier');
  const network = noisyClassifierFromShapes(tensors);
  return { network: architecture.build(network), classes: numbered(network.classes), inChannels: network.inChannels };
}
