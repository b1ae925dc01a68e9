/** The fields of the form that deploys, and what its parts are given. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { namedFields } from '../components/namedfields';
import type { DeployDraft } from './draft';
import type { DeployFault, DeployField } from './faults';
import { faultText } from './words';

export interface IDeployFields {
  draft: DeployDraft;
  trans: TranslationBundle;
}

export const { Field, TextField, ChoiceField, FlagField } = namedFields<DeployField, DeployFault>(
  'deploy',
  faultText
);
