/** The attached pools, as a section of the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  Button,
  caretDownIcon,
  caretRightIcon,
  checkIcon,
  circleEmptyIcon,
  closeIcon,
  errorIcon,
  refreshIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import React, { useEffect, useRef, useState } from 'react';

import type { PoolItem } from '../../api/types';
import { panelIcon, warningIcon } from '../../icons';
import { CommandIDs, type IAiInfraModels, type IProblem } from '../../tokens';
import { useSignal } from '../usesignal';
import { PoolUse, useLive } from './gpus';
import { IconButton } from './iconbutton';
import { PoolDetails, useOpenNodes, type IOpenNodes } from './nodes';
import { clockText, poolFacts, sinceText, troubleText } from './poolfacts';
import { PoolPrice } from './poolprice';
import { walk } from './walk';

export interface IPoolsSectionProps {
  /** Whoever shows the section watches `models.pools` for as long as it is in sight. */
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** Whether it is in sight: what GPUs do is watched only then. */
  isVisible: boolean;
}

/** The list of pools; a pool that is attached while it is shown is opened and gets the focus. */
export function PoolsSection(props: IPoolsSectionProps): React.JSX.Element {
  const { models, commands, trans, isVisible } = props;
  useSignal(models.pools.changed);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [wanted, setWanted] = useState<string | null>(null);
  const nodes = useOpenNodes();
  const { checking, attaching, answers } = useUnderWay(commands, pool => {
    setOpen(names => new Set([...names, pool.name]));
    setWanted(pool.name);
  });
  const { pools, problem } = models.pools;

  if (pools === null) {
    return (
      <div className="aiinfra-Pools">
        {problem ? (
          <ProblemNote problem={problem} />
        ) : (
          <p className="aiinfra-Pools-note" role="status">
            {trans.__('Asking the server for its pools…')}
          </p>
        )}
      </div>
    );
  }
  if (pools.length === 0) {
    return <NoPools commands={commands} trans={trans} attaching={attaching} />;
  }
  const toggle = (name: string): void => {
    const others = [...open].filter(each => each !== name);
    setOpen(new Set(open.has(name) ? others : [...others, name]));
  };
  return (
    <div className="aiinfra-Pools">
      {problem && <ProblemNote problem={problem} />}
      <ul className="aiinfra-Pools-list" aria-label={trans.__('Pools')} onKeyDown={walk}>
        {pools.map(pool => (
          <PoolRow
            key={pool.name}
            pool={latest(pool, answers.get(pool.name))}
            models={models}
            commands={commands}
            trans={trans}
            isVisible={isVisible}
            nodes={nodes}
            checking={checking.has(pool.name)}
            open={open.has(pool.name)}
            wanted={wanted === pool.name}
            onToggle={() => toggle(pool.name)}
            onFocused={() => setWanted(null)}
          />
        ))}
      </ul>
    </div>
  );
}

/**
 * Which pools are being checked, and whether one is being attached without the form; from
 * wherever that was begun: a button here, the context menu, the palette.
 */
function useUnderWay(
  commands: CommandRegistry,
  onAttached: (pool: PoolItem) => void
): {
  checking: ReadonlySet<string>;
  attaching: boolean;
  /** What pools said when checked from here; the server tells only of what is new. */
  answers: ReadonlyMap<string, PoolItem>;
} {
  const [checking, setChecking] = useState<ReadonlySet<string>>(new Set());
  const [attaching, setAttaching] = useState(false);
  const [answers, setAnswers] = useState<ReadonlyMap<string, PoolItem>>(new Map());
  const attached = useRef(onAttached);
  attached.current = onAttached;

  useEffect(() => {
    const slot = (_: CommandRegistry, ran: CommandRegistry.ICommandExecutedArgs): void => {
      const { id, args } = ran;
      const result = ran.result as Promise<PoolItem | null>;
      if (id === CommandIDs.attachPool) {
        setAttaching('name' in args);
        const done = (pool: PoolItem | null): void => {
          setAttaching(false);
          if (pool !== null) {
            attached.current(pool);
          }
        };
        result.then(done, () => done(null));
      } else if (id === CommandIDs.checkPool && typeof args['name'] === 'string') {
        const name = args['name'];
        const done = (answer: PoolItem | null): void => {
          if (answer !== null) {
            setAnswers(known => new Map([...known, [name, answer]]));
          }
          setChecking(names => new Set([...names].filter(each => each !== name)));
        };
        setChecking(names => new Set([...names, name]));
        result.then(done, () => done(null));
      }
    };
    commands.commandExecuted.connect(slot);
    return () => {
      commands.commandExecuted.disconnect(slot);
    };
  }, [commands]);
  return { checking, attaching, answers };
}

/** The pool with the later one of two answers. */
function latest(pool: PoolItem, answer: PoolItem | undefined): PoolItem {
  const isSame = answer?.created_at === pool.created_at;
  return isSame && (answer.checked_at ?? 0) > (pool.checked_at ?? 0)
    ? { ...answer, active_jobs: pool.active_jobs }
    : pool;
}

/** Why there is no news of the pools. What was known stays below it. */
function ProblemNote({ problem }: { problem: IProblem }): React.JSX.Element {
  return (
    <div className="aiinfra-Pools-note" role="alert">
      <div>{problem.message}</div>
      {problem.hint && <div className="aiinfra-Pools-hint">{problem.hint}</div>}
    </div>
  );
}

function NoPools({
  commands,
  trans,
  attaching
}: {
  commands: CommandRegistry;
  trans: TranslationBundle;
  attaching: boolean;
}): React.JSX.Element {
  const here = { name: 'here', kind: 'local', options: {} };
  return (
    <div className="aiinfra-Pools aiinfra-Pools-empty">
      <p>
        {trans.__(
          'A pool is where jobs run: this machine, or others you can reach. Attach one to begin.'
        )}
      </p>
      <button
        className="jp-mod-styled jp-mod-accept"
        disabled={attaching}
        aria-busy={attaching}
        onClick={() => void commands.execute(CommandIDs.attachPool, here)}
      >
        {attaching ? trans.__('Attaching…') : trans.__('Attach this machine')}
      </button>
      <AttachButton commands={commands} trans={trans} />
    </div>
  );
}

function AttachButton({
  commands,
  trans
}: {
  commands: CommandRegistry;
  trans: TranslationBundle;
}): React.JSX.Element {
  return (
    <Button
      minimal
      className="aiinfra-Pools-attach"
      onClick={() => void commands.execute(CommandIDs.attachPool)}
    >
      <addIcon.react tag="span" />
      {trans.__('Attach a pool…')}
    </Button>
  );
}

interface IPoolRowProps {
  pool: PoolItem;
  models: IAiInfraModels;
  isVisible: boolean;
  nodes: IOpenNodes;
  commands: CommandRegistry;
  trans: TranslationBundle;
  checking: boolean;
  open: boolean;
  wanted: boolean;
  onToggle: () => void;
  onFocused: () => void;
}

function PoolRow(props: IPoolRowProps): React.JSX.Element {
  const { pool, models, commands, trans, isVisible, nodes } = props;
  const { checking, open, wanted, onToggle, onFocused } = props;
  const toggle = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (wanted) {
      toggle.current?.focus();
      onFocused();
    }
  }, [wanted]);
  const Caret = open ? caretDownIcon : caretRightIcon;
  const details = `aiinfra-pool-${pool.name}`;
  const trouble = pool.problem || troubleText(pool, trans);
  const act = (command: string): void => void commands.execute(command, { name: pool.name });
  const hasGpus = pool.nodes?.some(({ gpus }) => gpus.length > 0) ?? false;
  // One that does not answer is tried by the server when it asks it, not from here.
  const isRead = hasGpus && pool.status !== 'unreachable';
  const live = useLive(models, isRead ? { pool: pool.name, detail: 'nodes' } : null, isVisible);
  return (
    // The class and the name are what the context menu looks for.
    <li className="aiinfra-PoolRow" data-pool={pool.name} aria-busy={checking}>
      <div className="aiinfra-PoolRow-head">
        <button
          ref={toggle}
          className="aiinfra-PoolRow-toggle"
          aria-expanded={open}
          aria-controls={details}
          onClick={onToggle}
        >
          <Caret.react tag="span" />
          <span className="aiinfra-PoolRow-name">{pool.name}</span>
          <span className="aiinfra-PoolRow-kind">{pool.kind}</span>
        </button>
        {hasGpus && commands.hasCommand(CommandIDs.openGpus) && (
          <IconButton
            icon={panelIcon}
            label={trans.__('Show the GPUs of %1', pool.name)}
            onClick={() => void commands.execute(CommandIDs.openGpus, { pool: pool.name })}
          />
        )}
        <IconButton
          icon={refreshIcon}
          label={trans.__('Check %1 now', pool.name)}
          className={checking ? 'aiinfra-mod-turning' : ''}
          disabled={checking}
          onClick={() => act(CommandIDs.checkPool)}
        />
        <IconButton
          icon={closeIcon}
          label={trans.__('Detach %1', pool.name)}
          onClick={() => act(CommandIDs.detachPool)}
        />
      </div>
      <div className="aiinfra-PoolRow-facts">
        <Status pool={pool} checking={checking} trans={trans} />
        {poolFacts(pool, trans).map(fact => (
          <span key={fact}>{fact}</span>
        ))}
        {pool.active_jobs > 0 && (
          <span>{trans._n('1 active job', '%1 active jobs', pool.active_jobs)}</span>
        )}
        <PoolPrice pool={pool} commands={commands} trans={trans} />
      </div>
      <PoolUse live={live} trans={trans} />
      {trouble && <p className="aiinfra-PoolRow-problem">{trouble}</p>}
      <div id={details} hidden={!open}>
        {open && (
          <PoolDetails
            pool={pool}
            overview={live?.board ?? null}
            open={nodes}
            {...{ models, commands, trans, isVisible }}
          />
        )}
      </div>
    </li>
  );
}

function Status({
  pool,
  checking,
  trans
}: {
  pool: PoolItem;
  checking: boolean;
  trans: TranslationBundle;
}): React.JSX.Element {
  const asked = pool.checked_at === null ? '' : clockText(pool.checked_at, new Date());
  const [Icon, text] = {
    live: [checkIcon, trans.__('live')] as const,
    degraded: [
      warningIcon,
      sinceText(trans.__('degraded'), pool.since ?? pool.checked_at, trans)
    ] as const,
    unreachable: [
      errorIcon,
      sinceText(trans.__('unreachable'), pool.since ?? pool.checked_at, trans)
    ] as const,
    unknown: [circleEmptyIcon, trans.__('not asked yet')] as const
  }[pool.status];
  return (
    <span
      className="aiinfra-PoolRow-status"
      data-status={pool.status}
      title={asked && trans.__('Last asked at %1', asked)}
      role="status"
    >
      <Icon.react tag="span" />
      {checking ? trans.__('asking…') : text}
    </span>
  );
}
