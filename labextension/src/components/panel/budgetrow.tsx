/** One budget of the list: how it stands, what can be done about it, and what it has done. */

import type { TranslationBundle } from '@jupyterlab/translation';
import {
  caretDownIcon,
  caretRightIcon,
  checkIcon,
  circleEmptyIcon,
  closeIcon,
  editIcon,
  errorIcon,
  historyIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React, { useEffect, useId, useState } from 'react';

import type { BudgetItem, Decision } from '../../api/types';
import { warningIcon } from '../../icons';
import { isPressing } from '../../models/costwords';
import { HOUR } from '../../models/noticewords';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi, type IAiInfraModels } from '../../tokens';
import { durationText } from '../../widgets/format';
import { actionHelp, actionText } from '../budgetform';
import {
  budgetTitle,
  decisionWord,
  MORNING,
  paceText,
  shareOfText,
  standing,
  untilTomorrow,
  windowText
} from './budgetwords';
import { IconButton } from './iconbutton';
import { Facts } from './nodes';
import { clockText } from './poolfacts';

const SIGNS = {
  well: [checkIcon, 'live'],
  warning: [warningIcon, 'degraded'],
  over: [errorIcon, 'unreachable'],
  resting: [historyIcon, 'unknown'],
  unknown: [circleEmptyIcon, 'unknown']
} as const;

export interface IBudgetRowProps {
  budget: BudgetItem;
  models: IAiInfraModels;
  api: Pick<IAiInfraApi, 'budget'>;
  commands: CommandRegistry;
  trans: TranslationBundle;
  isOpen: boolean;
  onToggle: () => void;
}

export function BudgetRow(props: IBudgetRowProps): React.JSX.Element {
  const { budget, models, commands, trans, isOpen, onToggle } = props;
  const id = useId();
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  const now = new Date();
  const title = budgetTitle(budget, job => models.jobs.find(job)?.name, trans);
  const { sign, text } = standing(budget, now, trans);
  const [Sign, status] = SIGNS[sign];
  const pace = paceText(budget, now, trans);
  const act = (command: string, args: ReadonlyPartialJSONObject = {}): void =>
    void commands.execute(command, { id: budget.id, ...args });
  return (
    <li className="aiinfra-BudgetRow" data-budget={budget.id} data-reach={sign}>
      <div className="aiinfra-PoolRow-head">
        <button
          className="aiinfra-PoolRow-toggle"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={onToggle}
        >
          <Caret.react tag="span" />
          <span className="aiinfra-PoolRow-name" title={title}>
            {title}
          </span>
        </button>
        <IconButton
          icon={editIcon}
          label={trans.__('Change the budget of %1', title)}
          onClick={() => act(CommandIDs.setBudget)}
        />
        <IconButton
          icon={closeIcon}
          label={trans.__('Remove the budget of %1', title)}
          onClick={() => act(CommandIDs.removeBudget)}
        />
      </div>
      <Bar budget={budget} />
      <div className="aiinfra-PoolRow-facts">
        <span className="aiinfra-PoolRow-status" data-status={status} role="status">
          <Sign.react tag="span" />
          {text}
        </span>
        <span className="aiinfra-BudgetRow-spent">{shareOfText(budget, trans)}</span>
        {budget.period !== 'total' && <span>{windowText(budget, trans)}</span>}
        {pace && <span>{pace}</span>}
      </div>
      {budget.problem && <p className="aiinfra-PoolRow-problem">{budget.problem}</p>}
      {(isOpen || budget.snoozed || isPressing(budget)) && (
        <Answers budget={budget} trans={trans} onAnswer={act} />
      )}
      <div id={id} hidden={!isOpen}>
        {isOpen && <BudgetDetails {...props} />}
      </div>
    </li>
  );
}

/** How much of it is spent; the words below say the same. A mark stands where it warns. */
function Bar({ budget }: { budget: BudgetItem }): React.JSX.Element | null {
  const { share, warn_share: warn } = budget;
  const percent = (part: number): string => `${Math.min(Math.max(part, 0), 1) * 100}%`;
  return (
    <div
      className="aiinfra-BudgetBar"
      aria-hidden="true"
      data-unknown={share === null || undefined}
    >
      {share !== null && (
        <span className="aiinfra-BudgetBar-fill" style={{ width: percent(share) }} />
      )}
      {warn < 1 && (
        <span className="aiinfra-BudgetBar-mark" style={{ insetInlineStart: percent(warn) }} />
      )}
    </div>
  );
}

function Answers({
  budget,
  trans,
  onAnswer
}: {
  budget: BudgetItem;
  trans: TranslationBundle;
  onAnswer: (command: string, args?: ReadonlyPartialJSONObject) => void;
}): React.JSX.Element {
  const { snoozed, asks_until: asks, jobs } = budget;
  const { snoozeBudget, stopBudget } = CommandIDs;
  const rest = (label: string, seconds: number | null, title: string): React.JSX.Element => (
    <button
      key={label}
      className="jp-mod-styled aiinfra-TextButton"
      title={title}
      onClick={() => onAnswer(snoozeBudget, { seconds })}
    >
      {label}
    </button>
  );
  const buttons = snoozed
    ? [rest(trans.__('Wake up'), null, trans.__('It warns, refuses or stops again at once'))]
    : [
        rest(
          asks === null ? trans.__('Snooze for an hour') : trans.__('Go on for an hour'),
          HOUR,
          trans.__('The budget does nothing for an hour')
        ),
        rest(
          trans.__('Until tomorrow'),
          untilTomorrow(new Date()),
          trans.__('The budget does nothing until %1:00 tomorrow', MORNING)
        )
      ];
  return (
    <div className="aiinfra-BudgetRow-answers">
      {buttons}
      {jobs.length > 0 && (
        <button className="jp-mod-styled aiinfra-TextButton" onClick={() => onAnswer(stopBudget)}>
          {trans._n('Stop its job…', 'Stop its %1 jobs…', jobs.length)}
        </button>
      )}
    </div>
  );
}

/** What it does, its jobs, and what was decided by it. */
function BudgetDetails({
  budget,
  models,
  api,
  commands,
  trans
}: IBudgetRowProps): React.JSX.Element {
  const nameOf = (job: string): string => models.jobs.find(job)?.name ?? job;
  return (
    <div className="aiinfra-PoolDetails">
      <Facts facts={budgetFacts(budget, trans)} />
      {budget.jobs.length > 0 && (
        <div className="aiinfra-BudgetDetails-jobs">
          <span>{trans.__('Its jobs:')}</span>
          {budget.jobs.map(job => (
            <button
              key={job}
              className="aiinfra-LinkButton"
              onClick={() => void commands.execute(CommandIDs.openJob, { id: job })}
            >
              {nameOf(job)}
            </button>
          ))}
        </div>
      )}
      <Decisions budget={budget} api={api} nameOf={nameOf} trans={trans} />
    </div>
  );
}

function budgetFacts(budget: BudgetItem, trans: TranslationBundle): [string, string][] {
  const { action, warn_share: warn, grace_seconds: grace, window_end: end } = budget;
  const moment = (seconds: number): string => clockText(seconds, new Date());
  const facts: [string, string | null][] = [
    [
      trans.__('Once spent'),
      trans.__('%1: %2', actionText(action, trans), actionHelp(action, trans))
    ],
    [trans.__('Warns at'), trans.__('%1 %', Math.round(warn * 1000) / 10)],
    [
      trans.__('Time to save'),
      grace === null || action === 'warn' || action === 'refuse' ? null : durationText(grace)
    ],
    [trans.__('Begins anew'), end === null ? null : moment(end)],
    [trans.__('Snoozed by'), budget.snoozed ? budget.snoozed_by : null],
    [
      trans.__('Set'),
      budget.created_by === null
        ? moment(budget.created_at)
        : trans.__('%1 by %2', moment(budget.created_at), budget.created_by)
    ]
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== null);
}

/** Asked for when it opens, and again when something was decided since. */
function Decisions({
  budget,
  api,
  nameOf,
  trans
}: {
  budget: BudgetItem;
  api: Pick<IAiInfraApi, 'budget'>;
  nameOf: (job: string) => string;
  trans: TranslationBundle;
}): React.JSX.Element {
  const [decisions, setDecisions] = useState<readonly Decision[] | null>(null);
  const [problem, setProblem] = useState('');
  const { id, decided_at: decided } = budget;
  useEffect(() => {
    let isOver = false;
    api.budget(id).then(
      detail => {
        if (!isOver) {
          setDecisions(detail.decisions);
          setProblem('');
        }
      },
      (error: unknown) => {
        if (!(error instanceof RequestError)) {
          throw error;
        }
        if (!isOver) {
          setProblem(error.message);
        }
      }
    );
    return () => {
      isOver = true;
    };
  }, [api, id, decided]);
  if (problem) {
    return (
      <p className="aiinfra-PoolDetails-why" role="alert">
        {problem}
      </p>
    );
  }
  if (decisions === null) {
    return <p className="aiinfra-Pools-note">{trans.__('Asking what it has done…')}</p>;
  }
  if (decisions.length === 0) {
    return <p className="aiinfra-Pools-note">{trans.__('It has not had to do anything yet.')}</p>;
  }
  return (
    <ol className="aiinfra-Decisions" aria-label={trans.__('What it has done, the newest first')}>
      {decisions.map(each => (
        <li key={each.key} data-kind={each.kind}>
          <span className="aiinfra-Decisions-when">{clockText(each.at, new Date())}</span>
          <span>
            <b>
              {each.job === null
                ? decisionWord(each.kind, trans)
                : trans.__('%1, %2', decisionWord(each.kind, trans), nameOf(each.job))}
            </b>{' '}
            {each.text}
          </span>
        </li>
      ))}
    </ol>
  );
}
