import { library } from '@mezzotint/tsup';

export default library({ index: 'src/index.ts', node: 'src/node/index.ts' });
