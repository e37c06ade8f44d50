# layers.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 3786322429

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'layers.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_open = l_0_include = l_0_transform_param = l_0_data = l_0_image_data = l_0_input = l_0_convolution = l_0_relu = l_0_batch_norm = l_0_scale = l_0_pooling = l_0_concat = l_0_eltwise = l_0_dropout = l_0_softmax = l_0_loss = l_0_accuracy = missing
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
    yield ' after the call keeps a second newline out.\n#}\n\n'
    def macro(l_1_layer, l_1_type):
        t_5 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        if l_1_type is missing:
            l_1_type = undefined("parameter 'type' was not provided", name='type')
        pass
        t_5.extend((
            'layer {\n  name: ',
            str(t_3(environment.getattr(l_1_layer, 'name'))),
            '\n  type: "',
            str(l_1_type),
            '"\n',
        ))
        for l_2_bottom in environment.getattr(l_1_layer, 'bottoms'):
            _loop_vars = {}
            pass
            t_5.extend((
                '  bottom: ',
                str(t_3(l_2_bottom)),
                '\n',
            ))
        l_2_bottom = missing
        for l_2_top in environment.getattr(l_1_layer, 'tops'):
            _loop_vars = {}
            pass
            t_5.extend((
                '  top: ',
                str(t_3(l_2_top)),
                '\n',
            ))
        l_2_top = missing
        return concat(t_5)
    context.exported_vars.add('open')
    context.vars['open'] = l_0_open = Macro(environment, macro, 'open', ('layer', 'type'), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_phase):
        t_6 = []
        if l_1_phase is missing:
            l_1_phase = undefined("parameter 'phase' was not provided", name='phase')
        pass
        if (l_1_phase == 'any'):
            pass
            t_6.append(
                '  include {\n  }\n',
            )
        elif (not t_4(l_1_phase)):
            pass
            t_6.extend((
                '  include {\n    phase: ',
                str(l_1_phase),
                '\n  }\n',
            ))
        return concat(t_6)
    context.exported_vars.add('include')
    context.vars['include'] = l_0_include = Macro(environment, macro, 'include', ('phase',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_fields):
        t_7 = []
        if l_1_fields is missing:
            l_1_fields = undefined("parameter 'fields' was not provided", name='fields')
        pass
        t_7.append(
            '  transform_param {\n',
        )
        if (not t_4(environment.getattr(l_1_fields, 'mirror'))):
            pass
            t_7.extend((
                '    mirror: ',
                str(t_1(environment.getattr(l_1_fields, 'mirror'))),
                '\n',
            ))
        if (not t_4(environment.getattr(l_1_fields, 'scale'))):
            pass
            t_7.extend((
                '    scale: ',
                str(t_2(environment.getattr(l_1_fields, 'scale'))),
                '\n',
            ))
        if (not t_4(environment.getattr(l_1_fields, 'crop'))):
            pass
            t_7.extend((
                '    crop_size: ',
                str(environment.getattr(l_1_fields, 'crop')),
                '\n',
            ))
        if (not t_4(environment.getattr(l_1_fields, 'mean_file'))):
            pass
            t_7.extend((
                '    mean_file: ',
                str(t_3(environment.getattr(l_1_fields, 'mean_file'))),
                '\n',
            ))
        for l_2_value in environment.getattr(l_1_fields, 'means'):
            _loop_vars = {}
            pass
            t_7.extend((
                '    mean_value: ',
                str(t_2(l_2_value)),
                '\n',
            ))
        l_2_value = missing
        if (not t_4(environment.getattr(l_1_fields, 'gray'))):
            pass
            t_7.extend((
                '    force_gray: ',
                str(t_1(environment.getattr(l_1_fields, 'gray'))),
                '\n',
            ))
        t_7.append(
            '  }\n',
        )
        return concat(t_7)
    context.exported_vars.add('transform_param')
    context.vars['transform_param'] = l_0_transform_param = Macro(environment, macro, 'transform_param', ('fields',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_8 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_8.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Data')),
            str(context.call((undefined(name='include') if l_0_include is missing else l_0_include), environment.getattr(environment.getattr(l_1_layer, 'fields'), 'include'))),
            str(context.call((undefined(name='transform_param') if l_0_transform_param is missing else l_0_transform_param), environment.getattr(l_1_layer, 'fields'))),
            '  data_param {\n    source: ',
            str(t_3(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'source'))),
            '\n    batch_size: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'batch_size')),
            '\n    backend: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'backend')),
            '\n  }\n}\n',
        ))
        return concat(t_8)
    context.exported_vars.add('data')
    context.vars['data'] = l_0_data = Macro(environment, macro, 'data', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_9 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_9.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'ImageData')),
            str(context.call((undefined(name='include') if l_0_include is missing else l_0_include), environment.getattr(environment.getattr(l_1_layer, 'fields'), 'include'))),
            str(context.call((undefined(name='transform_param') if l_0_transform_param is missing else l_0_transform_param), environment.getattr(l_1_layer, 'fields'))),
            '  image_data_param {\n    source: ',
            str(t_3(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'source'))),
            '\n    batch_size: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'batch_size')),
            '\n',
        ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'shuffle'))):
            pass
            t_9.extend((
                '    shuffle: ',
                str(t_1(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'shuffle'))),
                '\n',
            ))
        t_9.extend((
            '    new_height: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'side')),
            '\n    new_width: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'side')),
            '\n',
        ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'is_color'))):
            pass
            t_9.extend((
                '    is_color: ',
                str(t_1(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'is_color'))),
                '\n',
            ))
        t_9.append(
            '  }\n}\n',
        )
        return concat(t_9)
    context.exported_vars.add('image_data')
    context.vars['image_data'] = l_0_image_data = Macro(environment, macro, 'image_data', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_10 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_10.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Input')),
            '  input_param {\n    shape {\n',
        ))
        for l_2_dim in environment.getattr(environment.getattr(l_1_layer, 'fields'), 'shape'):
            _loop_vars = {}
            pass
            t_10.extend((
                '      dim: ',
                str(l_2_dim),
                '\n',
            ))
        l_2_dim = missing
        t_10.append(
            '    }\n  }\n}\n',
        )
        return concat(t_10)
    context.exported_vars.add('input')
    context.vars['input'] = l_0_input = Macro(environment, macro, 'input', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_11 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_11.append(
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Convolution')),
        )
        for (l_2_lr_mult, l_2_decay_mult) in environment.getattr(environment.getattr(l_1_layer, 'fields'), 'multipliers'):
            _loop_vars = {}
            pass
            t_11.extend((
                '  param {\n    lr_mult: ',
                str(t_2(l_2_lr_mult)),
                '\n    decay_mult: ',
                str(t_2(l_2_decay_mult)),
                '\n  }\n',
            ))
        l_2_lr_mult = l_2_decay_mult = missing
        t_11.extend((
            '  convolution_param {\n    num_output: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'filters')),
            '\n',
        ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'pad'))):
            pass
            t_11.extend((
                '    pad: ',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'pad')),
                '\n',
            ))
        t_11.extend((
            '    kernel_size: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'kernel')),
            '\n',
        ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'stride'))):
            pass
            t_11.extend((
                '    stride: ',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'stride')),
                '\n',
            ))
        if (environment.getattr(environment.getattr(l_1_layer, 'fields'), 'filler') == 'gaussian'):
            pass
            t_11.append(
                '    weight_filler {\n      type: "gaussian"\n      mean: 0\n      std: 0.01\n    }\n',
            )
        elif (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'filler'))):
            pass
            t_11.extend((
                '    weight_filler {\n      type: "',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'filler')),
                '"\n    }\n',
            ))
        if environment.getattr(environment.getattr(l_1_layer, 'fields'), 'bias_filler'):
            pass
            t_11.append(
                '    bias_filler {\n      type: "constant"\n      value: 0\n    }\n',
            )
        t_11.append(
            '  }\n}\n',
        )
        return concat(t_11)
    context.exported_vars.add('convolution')
    context.vars['convolution'] = l_0_convolution = Macro(environment, macro, 'convolution', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_12 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_12.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'ReLU')),
            '}\n',
        ))
        return concat(t_12)
    context.exported_vars.add('relu')
    context.vars['relu'] = l_0_relu = Macro(environment, macro, 'relu', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_13 = []
        l_1_range = resolve('range')
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_13.append(
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'BatchNorm')),
        )
        if environment.getattr(environment.getattr(l_1_layer, 'fields'), 'frozen'):
            pass
            for l_2_blob in context.call((undefined(name='range') if l_1_range is missing else l_1_range), 3):
                _loop_vars = {}
                pass
                t_13.append(
                    '  param {\n    lr_mult: 0\n  }\n',
                )
            l_2_blob = missing
        t_13.append(
            '}\n',
        )
        return concat(t_13)
    context.exported_vars.add('batch_norm')
    context.vars['batch_norm'] = l_0_batch_norm = Macro(environment, macro, 'batch_norm', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_14 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_14.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Scale')),
            '  scale_param {\n    bias_term: true\n  }\n}\n',
        ))
        return concat(t_14)
    context.exported_vars.add('scale')
    context.vars['scale'] = l_0_scale = Macro(environment, macro, 'scale', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_15 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_15.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Pooling')),
            '  pooling_param {\n    pool: ',
            str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'method')),
            '\n',
        ))
        if t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'kernel')):
            pass
            t_15.append(
                '    global_pooling: true\n',
            )
        else:
            pass
            t_15.extend((
                '    kernel_size: ',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'kernel')),
                '\n',
            ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'stride'))):
            pass
            t_15.extend((
                '    stride: ',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'stride')),
                '\n',
            ))
        t_15.append(
            '  }\n}\n',
        )
        return concat(t_15)
    context.exported_vars.add('pooling')
    context.vars['pooling'] = l_0_pooling = Macro(environment, macro, 'pooling', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_16 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_16.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Concat')),
            '}\n',
        ))
        return concat(t_16)
    context.exported_vars.add('concat')
    context.vars['concat'] = l_0_concat = Macro(environment, macro, 'concat', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_17 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_17.append(
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Eltwise')),
        )
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'operation'))):
            pass
            t_17.extend((
                '  eltwise_param {\n    operation: ',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'operation')),
                '\n  }\n',
            ))
        t_17.append(
            '}\n',
        )
        return concat(t_17)
    context.exported_vars.add('eltwise')
    context.vars['eltwise'] = l_0_eltwise = Macro(environment, macro, 'eltwise', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_18 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_18.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Dropout')),
            '  dropout_param {\n    dropout_ratio: ',
            str(t_2(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'ratio'))),
            '\n  }\n}\n',
        ))
        return concat(t_18)
    context.exported_vars.add('dropout')
    context.vars['dropout'] = l_0_dropout = Macro(environment, macro, 'dropout', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_19 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_19.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Softmax')),
            '}\n',
        ))
        return concat(t_19)
    context.exported_vars.add('softmax')
    context.vars['softmax'] = l_0_softmax = Macro(environment, macro, 'softmax', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_20 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_20.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, ('InfogainLoss' if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'matrix'))) else 'SoftmaxWithLoss'))),
            str(context.call((undefined(name='include') if l_0_include is missing else l_0_include), environment.getattr(environment.getattr(l_1_layer, 'fields'), 'include'))),
        ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'matrix'))):
            pass
            t_20.extend((
                '  infogain_loss_param {\n    source: ',
                str(t_3(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'matrix'))),
                '\n  }\n',
            ))
        t_20.append(
            '}\n',
        )
        return concat(t_20)
    context.exported_vars.add('loss')
    context.vars['loss'] = l_0_loss = Macro(environment, macro, 'loss', ('layer',), False, False, False, context.eval_ctx.autoescape)
    yield '\n'
    def macro(l_1_layer):
        t_21 = []
        if l_1_layer is missing:
            l_1_layer = undefined("parameter 'layer' was not provided", name='layer')
        pass
        t_21.extend((
            str(context.call((undefined(name='open') if l_0_open is missing else l_0_open), l_1_layer, 'Accuracy')),
            str(context.call((undefined(name='include') if l_0_include is missing else l_0_include), environment.getattr(environment.getattr(l_1_layer, 'fields'), 'include'))),
        ))
        if (not t_4(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'top_k'))):
            pass
            t_21.extend((
                '  accuracy_param {\n    top_k: ',
                str(environment.getattr(environment.getattr(l_1_layer, 'fields'), 'top_k')),
                '\n  }\n',
            ))
        t_21.append(
            '}\n',
        )
        return concat(t_21)
    context.exported_vars.add('accuracy')
    context.vars['accuracy'] = l_0_accuracy = Macro(environment, macro, 'accuracy', ('layer',), False, False, False, context.eval_ctx.autoescape)

blocks = {}
debug_info = '6=37&8=46&9=48&10=51&11=56&13=60&14=65&18=73&19=78&22=83&24=87&29=94&31=102&32=106&34=109&35=113&37=116&38=120&40=123&41=127&43=130&44=135&46=139&47=143&52=153&53=159&54=160&55=161&57=163&58=165&59=167&64=174&65=180&66=181&67=182&69=184&70=186&71=189&72=193&74=198&75=200&76=203&77=207&83=217&84=223&87=226&88=231&95=242&96=248&97=250&99=255&100=257&104=263&105=266&106=270&108=275&109=278&110=282&112=285&118=290&120=294&123=297&133=309&134=315&138=322&139=329&140=331&141=333&150=347&151=353&158=360&159=366&161=368&162=371&165=380&167=383&168=387&174=397&175=403&179=410&180=416&181=418&183=422&189=432&190=438&192=440&197=447&198=453&202=460&203=466&204=467&205=469&207=473&213=483&214=489&215=490&216=492&218=496'
