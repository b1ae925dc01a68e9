/** The budgets, as a section of the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, Button } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import React, { useState } from 'react';

import { CommandIDs, type IAiInfraApi, type IAiInfraModels } from '../../tokens';
import { useSignal } from '../usesignal';
import { BudgetRow } from './budgetrow';
import { walk } from './walk';

export interface IBudgetsSectionProps {
  /** Whoever shows the section watches `models.budgets` for as long as it is in sight. */
  models: IAiInfraModels;
  /** Tells what a budget has decided. */
  api: Pick<IAiInfraApi, 'budget'>;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The list of budgets, or what one is for where there is none. */
export function BudgetsSection(props: IBudgetsSectionProps): React.JSX.Element {
  const { models, commands, trans } = props;
  useSignal(models.budgets.changed);
  useSignal(models.jobs.changed);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const { budgets, problem } = models.budgets;
  const toggle = (id: string): void => {
    const others = [...open].filter(each => each !== id);
    setOpen(new Set(open.has(id) ? others : [...others, id]));
  };
  return (
    <div className="aiinfra-Budgets">
      {problem && (
        <div className="aiinfra-Pools-note" role="alert">
          <div>{problem.message}</div>
          {problem.hint && <div className="aiinfra-Pools-hint">{problem.hint}</div>}
        </div>
      )}
      {budgets === null && !problem && (
        <p className="aiinfra-Pools-note" role="status">
          {trans.__('Asking the server for its budgets…')}
        </p>
      )}
      {budgets?.length === 0 && (
        <p className="aiinfra-Pools-note">
          {trans.__(
            'A budget warns, asks or stops jobs once so much is spent: of a pool, a user, a project or everything.'
          )}
        </p>
      )}
      {budgets !== null && budgets.length > 0 && (
        <ul className="aiinfra-Pools-list" aria-label={trans.__('Budgets')} onKeyDown={walk}>
          {budgets.map(budget => (
            <BudgetRow
              key={budget.id}
              {...props}
              budget={budget}
              isOpen={open.has(budget.id)}
              onToggle={() => toggle(budget.id)}
            />
          ))}
        </ul>
      )}
      {budgets !== null && (
        <div className="aiinfra-Budgets-foot">
          <Button
            minimal
            className="aiinfra-Pools-attach"
            onClick={() => void commands.execute(CommandIDs.setBudget)}
          >
            <addIcon.react tag="span" />
            {trans.__('Set a budget…')}
          </Button>
          {commands.hasCommand(CommandIDs.openCost) && (
            <Button
              minimal
              className="aiinfra-Pools-attach"
              onClick={() => void commands.execute(CommandIDs.openCost)}
            >
              {trans.__('Show the cost')}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}
