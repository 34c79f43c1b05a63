import { library } from '@mezzotint/tsup';

export default library({ index: 'src/index.ts', terminal: 'src/terminal.ts', testing: 'src/testing/index.ts' });
