import { InvalidFileError, textOf } from '@mezzotint/core';
import type { Candidate } from '../../family.js';

/** A model that is made of FLUX's blocks, or published beside FLUX.1, and is not FLUX.1 dev or schnell. */
interface Relative {
  readonly name: string;
  /** Why FLUX.1's network and pipeline cannot run it: a clause after "which". */
  readonly why: string;
  /** Classes of its folders of diffusers begin so. */
  readonly pipelines?: readonly string[];
  /** A tensor that only it has begins so. */
  readonly tensor?: string;
  /** What its file is called, where nothing in it tells. */
  readonly called?: RegExp;
}

const RELATIVES: readonly Relative[] = [
  // Kontext has dev's tensors to the last one.
  {
    ...{ name: 'FLUX.1 Kontext', why: 'is given a picture beside the noise' },
    ...{ pipelines: ['FluxKontext'], called: /kontext/i },
  },
  { name: 'FLUX.1 Fill', why: 'is given a masked picture beside the noise', pipelines: ['FluxFill'] },
  {
    ...{ name: 'a FLUX ControlNet', why: 'guides another network by a picture' },
    ...{ pipelines: ['FluxControlNet'], tensor: 'controlnet_x_embedder.' },
  },
  { name: 'FLUX.1 Canny or Depth', why: 'is given a picture beside the noise', pipelines: ['FluxControl'] },
  {
    ...{ name: 'FLUX.1 Redux', why: 'turns a picture into text tokens for FLUX.1' },
    ...{ pipelines: ['FluxPriorRedux'], tensor: 'redux_' },
  },
  { name: 'Chroma Radiance', why: 'works on pixels', tensor: 'nerf_' },
  {
    ...{ name: 'Chroma', why: 'has one network for all modulations' },
    ...{ pipelines: ['Chroma'], tensor: 'distilled_guidance_layer.' },
  },
  {
    ...{ name: 'FLUX.2', why: 'has other blocks, text encoder and autoencoder' },
    ...{ pipelines: ['Flux2'], tensor: 'double_stream_modulation_' },
  },
];

/** The relative of FLUX.1 that a candidate is, and what tells; undefined when it is none. */
function relativeOf({ index, files, source }: Candidate): (Relative & { readonly by: string }) | undefined {
  const className = textOf(index?._class_name ?? '');
  const names = [...(source?.tensors.keys() ?? [])].map((name) => name.replace(/^model\.diffusion_model\./, ''));
  const told = [
    files.name.split(/[\\/]/).at(-1),
    source?.metadata.get('modelspec.title'),
    source?.metadata.get('general.name'),
  ];
  const isFlux = names.some(
    (name) => name.startsWith('double_blocks.') || name.startsWith('single_transformer_blocks.'),
  );
  for (const relative of RELATIVES) {
    const { pipelines = [], tensor, called } = relative;
    if (pipelines.some((beginning) => className.startsWith(beginning)))
      return { ...relative, by: `pipeline ${className}` };
    const found = tensor === undefined ? undefined : names.find((name) => name.startsWith(tensor));
    if (found !== undefined) return { ...relative, by: `tensor ${found}` };
    if (called && isFlux && told.some((text) => called.test(text ?? ''))) return { ...relative, by: 'name' };
  }
  return undefined;
}

/** Whether it is a relative of FLUX.1, which `refuseRelative` refuses. */
export function isRelative(candidate: Candidate): boolean {
  return relativeOf(candidate) !== undefined;
}

/** Throws an InvalidFileError that names a relative of FLUX.1, what tells that it is one, and why it does not run. */
export function refuseRelative(candidate: Candidate): void {
  const found = relativeOf(candidate);
  if (found === undefined) return;
  const { name, by, why } = found;
  throw new InvalidFileError(
    candidate.files.name,
    `is ${name} by its ${by}, which ${why} and is not built; FLUX.1 dev and schnell are`,
  );
}
