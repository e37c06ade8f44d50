# net.prototxt.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 2129443220

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'net.prototxt.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_net = resolve('net')
    l_0_layers = missing
    try:
        t_1 = environment.filters['quote']
    except KeyError:
        @internalcode
        def t_1(*unused):
            raise TemplateRuntimeError("No filter named 'quote' found.")
    pass
    l_0_layers = context.vars['layers'] = environment.get_template('layers.j2', 'net.prototxt.j2')._get_default_module(context)
    context.exported_vars.discard('layers')
    if environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'name'):
        pass
        yield 'name: '
        yield str(t_1(environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'name')))
        yield '\n'
    if environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'input_header'):
        pass
        yield 'input: "data"\n'
        if (environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'input_header') == 'input_shape'):
            pass
            yield 'input_shape {\n'
            for l_1_dim in environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'input_shape'):
                _loop_vars = {}
                pass
                yield '  dim: '
                yield str(l_1_dim)
                yield '\n'
            l_1_dim = missing
            yield '}\n'
        else:
            pass
            for l_1_dim in environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'input_shape'):
                _loop_vars = {}
                pass
                yield 'input_dim: '
                yield str(l_1_dim)
                yield '\n'
            l_1_dim = missing
    for l_1_layer in environment.getattr((undefined(name='net') if l_0_net is missing else l_0_net), 'layers'):
        _loop_vars = {}
        pass
        if environment.getattr(l_1_layer, 'comment'):
            pass
            yield '\n# '
            yield str(environment.getattr(l_1_layer, 'comment'))
            yield '\n'
        yield str(context.call(environment.getitem((undefined(name='layers') if l_0_layers is missing else l_0_layers), environment.getattr(l_1_layer, 'kind')), l_1_layer, _loop_vars=_loop_vars))
        if environment.getattr(l_1_layer, 'after'):
            pass
            yield '# '
            yield str(environment.getattr(l_1_layer, 'after'))
            yield '\n'
    l_1_layer = missing

blocks = {}
debug_info = '1=19&2=21&3=24&5=26&7=29&9=32&10=36&14=42&15=46&19=49&20=52&22=55&24=57&25=58&26=61'
