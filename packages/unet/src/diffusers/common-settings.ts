/** A setting of a file that is not one of those that we build is added to the problems. */
export type Choose = <T>(key: string, values: readonly T[]) => T;

export function chooser(read: (key: string) => unknown, problems: string[]): Choose {
  return <T>(key: string, values: readonly T[]): T => {
    const value = read(key) as T;
    if (!values.includes(value)) {
      const known = values.map((known) => JSON.stringify(known)).join(' or ');
      problems.push(`${key}: expected ${known}, got ${JSON.stringify(value)}`);
    }
    return value;
  };
}

/** What diffusers' two classes of UNets call alike and mean alike, in our terms. */
export function commonSettings(read: (key: string) => unknown, choose: Choose) {
  const scaleShift = choose('resnet_time_scale_shift', ['default', 'scale_shift']) === 'scale_shift';
  const isFourier = choose('time_embedding_type', ['positional', 'fourier']) === 'fourier';
  return {
    inChannels: read('in_channels') as number,
    outChannels: read('out_channels') as number,
    blockChannels: read('block_out_channels') as number[],
    centerInput: read('center_input_sample') as boolean,
    downsamplePadding: read('downsample_padding') as 0 | 1,
    midScale: read('mid_block_scale_factor') as number,
    timeConditioning: scaleShift ? 'scale-shift' : 'additive',
    groups: read('norm_num_groups') as number,
    epsilon: read('norm_eps') as number,
    dropout: read('dropout') as number,
    timeEmbeddingType: isFourier ? 'fourier' : 'sinusoidal',
    timeWidth: read('time_embedding_dim') as number | null,
    timeOrder: read('flip_sin_to_cos') ? 'cos-sin' : 'sin-cos',
    frequencyShift: read('freq_shift') as number,
  } as const;
}
