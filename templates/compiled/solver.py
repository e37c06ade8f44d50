# solver.prototxt.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 2074853479

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'solver.prototxt.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_phase = resolve('phase')
    l_0_design = resolve('design')
    l_0_tested = resolve('tested')
    l_0_passes = resolve('passes')
    try:
        t_1 = environment.filters['lower']
    except KeyError:
        @internalcode
        def t_1(*unused):
            raise TemplateRuntimeError("No filter named 'lower' found.")
    try:
        t_2 = environment.filters['number']
    except KeyError:
        @internalcode
        def t_2(*unused):
            raise TemplateRuntimeError("No filter named 'number' found.")
    try:
        t_3 = environment.filters['quote']
    except KeyError:
        @internalcode
        def t_3(*unused):
            raise TemplateRuntimeError("No filter named 'quote' found.")
    try:
        t_4 = environment.tests['none']
    except KeyError:
        @internalcode
        def t_4(*unused):
            raise TemplateRuntimeError("No test named 'none' found.")
    pass
    if ((undefined(name='phase') if l_0_phase is missing else l_0_phase) == 'sparse'):
        pass
        yield '# The sparse phase of Dense-Sparse-Dense training. sqgen train --dsd takes this solver for both\n# phases, the dense one at a tenth of the rate; --phase dense prints the solver of that.\n'
    elif ((undefined(name='phase') if l_0_phase is missing else l_0_phase) == 'dense'):
        pass
        yield "# The dense phase of Dense-Sparse-Dense training, at a tenth of the sparse phase's rate.\n"
    yield 'net: '
    yield str(t_3(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'net_path')))
    yield '\n\n# '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'test_batches'))
    yield ' x '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_batch_size'))
    yield ' = '
    yield str((undefined(name='tested') if l_0_tested is missing else l_0_tested))
    yield ' images a test'
    if ((undefined(name='tested') if l_0_tested is missing else l_0_tested) >= (2 * environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images'))):
        pass
        yield ': each of '
        yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images'))
        yield ' counts '
        yield str(((undefined(name='tested') if l_0_tested is missing else l_0_tested) // environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images')))
        yield ' times or more'
    elif ((undefined(name='tested') if l_0_tested is missing else l_0_tested) > environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images')):
        pass
        yield ': the first '
        yield str(((undefined(name='tested') if l_0_tested is missing else l_0_tested) - environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images')))
        yield ' of '
        yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images'))
        yield ' count twice'
    elif ((undefined(name='tested') if l_0_tested is missing else l_0_tested) < environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images')):
        pass
        yield ': the last '
        yield str((environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images') - (undefined(name='tested') if l_0_tested is missing else l_0_tested)))
        yield ' of '
        yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'val_images'))
        yield ' are left out'
    else:
        pass
        yield ': each of the validation set once'
    yield '\ntest_iter: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'test_batches'))
    yield '\ntest_interval: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'test_interval'))
    yield '\ntest_initialization: '
    yield str(t_1(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'test_initialization')))
    yield '\n\n# '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'batch_size'))
    yield ' x '
    yield str((undefined(name='passes') if l_0_passes is missing else l_0_passes))
    yield ' passes x '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'gpus'))
    yield ' GPU = '
    yield str(((environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'batch_size') * (undefined(name='passes') if l_0_passes is missing else l_0_passes)) * environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'gpus')))
    yield ' images an update\niter_size: '
    yield str((undefined(name='passes') if l_0_passes is missing else l_0_passes))
    yield '\nmax_iter: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'max_iter'))
    yield '\n'
    if (environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'solver_type') != 'SGD'):
        pass
        yield 'type: '
        yield str(t_3(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'solver_type')))
        yield '\n'
    yield 'base_lr: '
    yield str(t_2(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'base_lr')))
    yield '\nlr_policy: '
    yield str(t_3(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'lr_policy')))
    yield '\n'
    if (not t_4(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'gamma'))):
        pass
        yield 'gamma: '
        yield str(t_2(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'gamma')))
        yield '\n'
    if (environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'lr_policy') in ('poly', 'inv')):
        pass
        yield 'power: '
        yield str(t_2(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'power')))
        yield '\n'
    if (not t_4(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'stepsize'))):
        pass
        yield 'stepsize: '
        yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'stepsize'))
        yield '\n'
    for l_1_value in environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'stepvalues'):
        _loop_vars = {}
        pass
        yield 'stepvalue: '
        yield str(l_1_value)
        yield '\n'
    l_1_value = missing
    if (environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'solver_type') not in ('AdaGrad', 'RMSProp')):
        pass
        yield 'momentum: '
        yield str(t_2(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'momentum')))
        yield '\n'
    yield 'weight_decay: '
    yield str(t_2(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'weight_decay')))
    yield '\n\ndisplay: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'display'))
    yield '\naverage_loss: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'average_loss'))
    yield '\nsnapshot: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'snapshot'))
    yield '\nsnapshot_prefix: '
    yield str(t_3(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'snapshot_prefix')))
    yield '\nrandom_seed: '
    yield str(environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'random_seed'))
    yield '\nsolver_mode: '
    yield str(('CPU' if environment.getattr((undefined(name='design') if l_0_design is missing else l_0_design), 'cpu') else 'GPU'))
    yield '\n'

blocks = {}
debug_info = '1=39&4=42&7=46&10=48&11=54&12=61&13=68&17=79&18=81&19=83&21=85&22=93&23=95&24=97&25=100&27=103&28=105&29=107&30=110&32=112&33=115&35=117&36=120&38=122&39=126&41=129&42=132&44=135&46=137&47=139&48=141&49=143&50=145&51=147'
