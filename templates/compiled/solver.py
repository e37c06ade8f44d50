# solver.prototxt.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 1617813416

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'solver.prototxt.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
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
debug_info = '1=39&4=41&5=47&6=54&7=61&11=72&12=74&13=76&15=78&16=86&17=88&18=90&19=93&21=96&22=98&23=100&24=103&26=105&27=108&29=110&30=113&32=115&33=119&35=122&36=125&38=128&40=130&41=132&42=134&43=136&44=138&45=140'
