import torch

from model.rope import rope_table, rotate

AXES = (4, 6, 6)


def test_the_angle_is_the_id_times_theta_to_the_minus_2k_over_d():
    table = rope_table(torch.tensor([[3, 0, 5]]), axes_dims=AXES, theta=256.0)
    expected = torch.tensor([3.0, 3 * 256 ** (-2 / 4), 0, 0, 0, 5.0, 5 * 256 ** (-2 / 6), 5 * 256 ** (-4 / 6)])
    assert torch.allclose(table, torch.polar(torch.ones(8), expected), atol=1e-6)


def test_rotation_keeps_lengths_and_dtype():
    x = torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(0))
    table = rope_table(torch.randint(0, 99, (5, 3)), axes_dims=AXES, theta=256.0)
    assert torch.allclose(rotate(x, table).norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert rotate(x.bfloat16(), table).dtype == torch.bfloat16


def test_products_depend_on_the_distance_of_positions_only():
    q, k = torch.randn(2, 1, 1, 16, generator=torch.Generator().manual_seed(1))

    def product(at: int, of: int) -> torch.Tensor:
        tables = [rope_table(torch.tensor([[p, 2 * p, 7]]), axes_dims=AXES, theta=256.0) for p in (at, of)]
        return (rotate(q, tables[0]) * rotate(k, tables[1])).sum()

    assert torch.allclose(product(3, 8), product(103, 108), atol=1e-4)


def test_complex_and_real_forms_agree():
    x = torch.randn(6, 2, 16, generator=torch.Generator().manual_seed(2))
    table = rope_table(torch.arange(18).reshape(6, 3), axes_dims=AXES, theta=256.0)
    pairs = x.unflatten(-1, (-1, 2))
    real, imag = pairs.unbind(-1)
    cos, sin = table.real.unsqueeze(1), table.imag.unsqueeze(1)
    expected = torch.stack((real * cos - imag * sin, real * sin + imag * cos), -1).flatten(-2)
    assert torch.allclose(rotate(x, table), expected, atol=1e-6)
