"""Reading optimised HLO: small texts, counted by hand."""

import pytest

from rnnlab.aot.hlo import read_program

# As a GPU's compiler writes it: every launch is a fusion, a custom call or a copy, the loop counter's included.
_GPU = """\
HloModule jit_f, is_scheduled=true

%fused_add (param_0: s32[]) -> s32[] {
  %param_0 = s32[] parameter(0)
  %one = s32[] constant(1)
  ROOT %add = s32[] add(%param_0, %one)
}

%body (state: (s32[], f32[4,8], /*index=2*/f32[8,8])) -> (s32[], f32[4,8], f32[8,8]) {
  %state = (s32[], f32[4,8]{1,0}, /*index=2*/f32[8,8]{1,0}) parameter(0)
  %at = s32[] get-tuple-element(%state), index=0
  %h = f32[4,8]{1,0} get-tuple-element(%state), index=1
  %R = f32[8,8]{1,0} get-tuple-element(%state), index=2
  %product = (f32[4,8]{1,0}, s8[1024]{0}) custom-call(%h, %R), custom_call_target="__cublas$lt$matmul"
  %r = f32[4,8]{1,0} get-tuple-element(%product), index=0
  %copy.1 = f32[4,8]{1,0} copy(%r)
  %counted = s32[] fusion(%at), kind=kLoop, calls=%fused_add
  ROOT %tuple = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) tuple(%counted, %copy.1, %R)
}

%fused_compare (param_0.1: s32[]) -> pred[] {
  %param_0.1 = s32[] parameter(0)
  %many = s32[] constant(9)
  ROOT %less = pred[] compare(%param_0.1, %many), direction=LT
}

%condition (state.1: (s32[], f32[4,8], f32[8,8])) -> pred[] {
  %state.1 = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) parameter(0)
  %at.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %goes = pred[] fusion(%at.1), kind=kLoop, calls=%fused_compare
}

ENTRY %main (start: (s32[], f32[4,8], f32[8,8])) -> (s32[], f32[4,8], f32[8,8]) {
  %start = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) parameter(0)
  ROOT %while = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) while(%start), condition=%condition, body=%body, WHILE
}
"""
_KNOWN = 'metadata={op_name="jit(f)/transpose(jvp())/while"}, backend_config={"known_trip_count":{"n":"9"}}'


def test_each_launch_of_a_step_is_counted_once():
    (loop,) = read_program(_GPU.replace("WHILE", _KNOWN)).loops
    assert loop.kernels == {"custom-call": 1, "copy": 1, "fusion": 1}
    assert (loop.steps, loop.depth, loop.condition, loop.backward) == (9, 0, 0, True)
    assert not loop.collectives


def test_a_loop_of_unknown_length_launches_its_condition_too():
    (loop,) = read_program(_GPU.replace("WHILE", 'metadata={op_name="jit(f)/while"}')).loops
    assert (loop.steps, loop.condition, loop.backward) == (None, 1, False)


def _module(body: str, others: str = "") -> str:
    """A module whose entry calls one loop over a state of one array."""
    return f"""\
HloModule m

%any (a.1: pred[], b.1: pred[]) -> pred[] {{
  %a.1 = pred[] parameter(0)
  %b.1 = pred[] parameter(1)
  ROOT %or = pred[] or(%a.1, %b.1)
}}

{others}
%body (s: f32[4]) -> f32[4] {{
  %s = f32[4]{{0}} parameter(0)
{body}
}}

%condition (s.1: f32[4]) -> pred[] {{
  %s.1 = f32[4]{{0}} parameter(0)
  %open = pred[] constant(true)
  ROOT %yes = pred[] all-reduce(%open), to_apply=%any
}}

ENTRY %main (s.2: f32[4]) -> f32[4] {{
  %s.2 = f32[4]{{0}} parameter(0)
  %first = f32[4]{{0}} negate(%s.2)
  ROOT %while = f32[4]{{0}} while(%first), condition=%condition, body=%body
}}
"""


def test_collectives_are_counted_once_whether_asynchronous_fused_or_called():
    others = """
%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %scattered = f32[4]{0} reduce-scatter(%p), dimensions={0}, to_apply=%sum
}

%called (q: f32[4]) -> f32[4] {
  %q = f32[4]{0} parameter(0)
  ROOT %permuted = f32[4]{0} collective-permute(%q), source_target_pairs={{0,1}}
}
"""
    body = """
  %started = (f32[4]{0}, f32[4]{0}) all-gather-start(%s), dimensions={0}
  %done = f32[4]{0} all-gather-done(%started)
  %fusion = f32[4]{0} fusion(%done), kind=kCustom, calls=%fused
  ROOT %call = f32[4]{0} call(%fusion), to_apply=%called
"""
    program = read_program(_module(body, others))
    (loop,) = program.loops
    assert loop.collectives == {"all-gather": 1, "reduce-scatter": 1, "collective-permute": 1, "all-reduce": 1}
    assert loop.kernels == {"all-gather": 1, "fusion": 1, "collective-permute": 1}
    assert program.collectives_in_loops == 4
    assert not program.collectives
    assert program.kernels == {"negate": 1}


def test_of_a_conditional_the_largest_branch_counts_and_its_loops_are_found():
    others = """
%small (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %n = f32[4]{0} negate(%p)
}

%inner (i: f32[4]) -> f32[4] {
  %i = f32[4]{0} parameter(0)
  ROOT %e = f32[4]{0} exponential(%i)
}

%large (q: f32[4]) -> f32[4] {
  %q = f32[4]{0} parameter(0)
  %w = f32[4]{0} while(%q), condition=%condition, body=%inner
  %k = f32[4]{0} copy(%w)
  ROOT %m = f32[4]{0} negate(%k)
}
"""
    body = """
  %which = s32[] constant(0)
  ROOT %chosen = f32[4]{0} conditional(%which, %s, %s), branch_computations={%small, %large}
"""
    outer, inner = read_program(_module(body, others)).loops
    assert (outer.depth, outer.kernels) == (0, {"copy": 1, "negate": 1})
    assert (inner.depth, inner.kernels) == (1, {"exponential": 1})


def test_a_scalar_of_a_tpu_is_no_kernel():
    """Its scalar unit computes it; on a GPU even the copy of a counter is a launch."""
    body = """
  %zero = s32[]{:T(128)} constant(0)
  %next = s32[]{:T(128)S(6)} add(%zero, %zero)
  ROOT %out = f32[4]{0:T(128)S(1)} fusion(%s, %next), kind=kLoop, calls=%condition
"""
    assert read_program(_module(body)).loops[0].kernels == {"fusion": 1}
    body = "  %at = s32[] copy(%s)\n  ROOT %out = f32[4]{0} negate(%s)"
    assert read_program(_module(body)).loops[0].kernels == {"copy": 1, "negate": 1}


def test_another_text_is_refused():
    with pytest.raises(ValueError, match="no entry computation"):
        read_program("module @jit_f { func.func public @main() }")
