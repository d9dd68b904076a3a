using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Checkpoints that hold several matrices as one, under the names of their parts; and what is no such matrix, as it is.</summary>
public sealed class FusedFilesTests : IDisposable
{
    private readonly TemporaryFile _file = new();
    private readonly SafetensorsWriter _writer = new();
    private readonly Random _random = new(5);

    public void Dispose() => _file.Dispose();

    [Fact]
    public void Queries_keys_and_values_of_one_matrix()
    {
        float[] all = Add("model.layers.0.self_attn.qkv_proj.weight", 12, 5), bias = Add("model.layers.0.self_attn.qkv_proj.bias", 12);
        Add("model.layers.0.self_attn.o_proj.weight", 5, 8);
        float[] gates = Add("model.layers.0.mlp.gate_up_proj.weight", 6, 5);
        using WeightFile file = Open();
        Assert.Equal(all[..40], Floats(file, "model.layers.0.self_attn.q_proj.weight", 8, 5));
        Assert.Equal(all[40..50], Floats(file, "model.layers.0.self_attn.k_proj.weight", 2, 5));
        Assert.Equal(all[50..], Floats(file, "model.layers.0.self_attn.v_proj.weight", 2, 5));
        Assert.Equal(bias[10..], Floats(file, "model.layers.0.self_attn.v_proj.bias", 2));
        Assert.Equal(gates[..15], Floats(file, "model.layers.0.mlp.gate_proj.weight", 3, 5));
        Assert.Equal(gates[15..], Floats(file, "model.layers.0.mlp.up_proj.weight", 3, 5));

        // And together again, as a format wants them that holds them so.
        using WeightFile joined = FusedView.Joined(file, [(".self_attn.qkv_proj", [".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"]), (".mlp.gate_up_proj", [".mlp.gate_proj", ".mlp.up_proj"])]);
        Assert.Equal(all, Floats(joined, "model.layers.0.self_attn.qkv_proj.weight", 12, 5));
        Assert.Equal(bias, Floats(joined, "model.layers.0.self_attn.qkv_proj.bias", 12));
        Assert.Equal(gates, Floats(joined, "model.layers.0.mlp.gate_up_proj.weight", 6, 5));
        Assert.Null(joined.Find("model.layers.0.self_attn.q_proj.weight"));
    }

    // What would be joined is there already: none of the three is passed over.
    [Fact]
    public void What_is_there_joined_and_in_parts_stays_both()
    {
        string[] names = ["bert.encoder.layer.0.intermediate.dense.weight", "bert.encoder.layer.0.intermediate.gate.weight", "bert.encoder.layer.0.intermediate.up.weight"];
        foreach (string name in names)
        {
            Add(name, 4, 3);
        }

        using WeightFile file = Open();
        Assert.Equal(names, file.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal));
        using WeightFile joined = FusedView.Joined(file, [(".intermediate.dense", [".intermediate.gate", ".intermediate.up"])]);
        Assert.Equal(names, joined.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal));
    }

    // Black et al. 2022: of each head, the rows of its query, of its key and of its value.
    [Fact]
    public void Heads_with_all_three_beside_each_other()
    {
        const int Heads = 3, HeadWidth = 4, Width = 12;
        float[] all = Add("gpt_neox.layers.7.attention.query_key_value.weight", 3 * Width, Width), bias = Add("gpt_neox.layers.7.attention.query_key_value.bias", 3 * Width);
        using WeightFile file = FusedView.ByHeads(Open(), HeadWidth);
        foreach ((string name, int which) in ((string, int)[])[("q", 0), ("k", 1), ("v", 2)])
        {
            int[] rows = [.. Enumerable.Range(0, Heads).SelectMany(head => Enumerable.Range(0, HeadWidth).Select(channel => (((3 * head) + which) * HeadWidth) + channel))];
            Assert.Equal(rows.SelectMany(row => all[(row * Width)..((row + 1) * Width)]), Floats(file, $"gpt_neox.layers.7.attention.{name}_proj.weight", Width, Width));
            Assert.Equal(rows.Select(row => bias[row]), Floats(file, $"gpt_neox.layers.7.attention.{name}_proj.bias", Width));
        }
    }

    [Fact]
    public void Granites_experts()
    {
        float[] inputs = Add("model.layers.1.block_sparse_moe.input_linear.weight", 3, 8, 5), outputs = Add("model.layers.1.block_sparse_moe.output_linear.weight", 3, 5, 4), router = Add("model.layers.1.block_sparse_moe.router.layer.weight", 3, 5);
        float[] shared = Add("model.layers.1.shared_mlp.input_linear.weight", 6, 5);
        using WeightFile file = Open();
        Assert.Equal(Enumerable.Range(0, 3).SelectMany(expert => inputs[(expert * 40)..((expert * 40) + 20)]), Floats(file, "model.layers.1.mlp.experts.gate_proj.weight", 3, 4, 5));
        Assert.Equal(Enumerable.Range(0, 3).SelectMany(expert => inputs[((expert * 40) + 20)..((expert + 1) * 40)]), Floats(file, "model.layers.1.mlp.experts.up_proj.weight", 3, 4, 5));
        Assert.Equal(outputs, Floats(file, "model.layers.1.mlp.experts.down_proj.weight", 3, 5, 4));
        Assert.Equal(router, Floats(file, "model.layers.1.mlp.gate.weight", 3, 5));
        Assert.Equal(shared[15..], Floats(file, "model.layers.1.mlp.shared_expert.up_proj.weight", 3, 5));
    }

    // OCP Microscaling Formats 1.0: 32 numbers of 4 bits, sign, two bits of exponent and one of fraction, times 2^(scale − 127); a byte's lower half comes first.
    [Fact]
    public void Experts_of_4_bits()
    {
        const int Experts = 2, Rows = 6, Blocks = 3;
        byte[] numbers = new byte[Experts * Rows * Blocks * 16], scales = new byte[Experts * Rows * Blocks];
        _random.NextBytes(numbers);
        for (int i = 0; i < scales.Length; i++)
        {
            scales[i] = (byte)_random.Next(100, 150);
        }

        _writer.Add("model.layers.0.mlp.experts.gate_up_proj_blocks", [Experts, Rows, Blocks, 16], numbers);
        _writer.Add("model.layers.0.mlp.experts.gate_up_proj_scales", [Experts, Rows, Blocks], scales);
        _writer.Add("model.layers.0.mlp.experts.down_proj_blocks", [Experts, Rows, Blocks, 16], numbers);
        _writer.Add("model.layers.0.mlp.experts.down_proj_scales", [Experts, Rows, Blocks], scales);
        float[] bias = Add("model.layers.0.mlp.experts.gate_up_proj_bias", Experts, Rows);
        using WeightFile file = Open();
        float[] magnitudes = [0, 0.5f, 1, 1.5f, 2, 3, 4, 6];
        float[] all = [.. Enumerable.Range(0, numbers.Length * 2).Select(i =>
        {
            int number = (numbers[i / 2] >> (i % 2 * 4)) & 15;
            return (number < 8 ? 1 : -1) * magnitudes[number % 8] * MathF.ScaleB(1, scales[i / 32] - 127);
        })];
        const int Columns = 32 * Blocks;
        float[] Turns(int which) => [.. Enumerable.Range(0, Experts * Rows / 2).SelectMany(row => all[(((2 * row) + which) * Columns)..(((2 * row) + which + 1) * Columns)])];
        Assert.Equal(Turns(0), Floats(file, "model.layers.0.mlp.experts.gate_proj.weight", Experts, Rows / 2, Columns));
        Assert.Equal(Turns(1), Floats(file, "model.layers.0.mlp.experts.up_proj.weight", Experts, Rows / 2, Columns));
        Assert.Equal(all, Floats(file, "model.layers.0.mlp.experts.down_proj.weight", Experts, Rows, Columns));
        Assert.Equal(bias.Where((_, i) => i % 2 == 1), Floats(file, "model.layers.0.mlp.experts.up_proj.bias", Experts, Rows / 2));
        Assert.Equal(5, file.Tensors.Count);
    }

    // As checkpoints of gpt-oss in bf16 have it, beside biases; and as Transformers 5 has it of others.
    [Fact]
    public void Experts_whose_gates_and_what_they_let_through_are_one_tensor()
    {
        float[] turned = Add("a.mlp.experts.gate_up_proj", 2, 5, 6), down = Add("a.mlp.experts.down_proj", 2, 3, 5), above = Add("b.mlp.experts.gate_up_proj", 2, 6, 5), straight = Add("b.mlp.experts.down_proj", 2, 5, 3);
        Add("a.mlp.experts.gate_up_proj_bias", 2, 6);
        Add("a.mlp.experts.down_proj_bias", 2, 5);
        using WeightFile file = Open();
        Assert.Equal(Enumerable.Range(0, 2 * 3 * 5).Select(i => turned[(i / 15 * 30) + (i % 5 * 6) + (2 * (i / 5 % 3)) + 1]), Floats(file, "a.mlp.experts.up_proj.weight", 2, 3, 5));
        Assert.Equal(Enumerable.Range(0, 2 * 5 * 3).Select(i => down[(i / 15 * 15) + (i % 3 * 5) + (i / 3 % 5)]), Floats(file, "a.mlp.experts.down_proj.weight", 2, 5, 3));
        Assert.Equal(above[15..30].Concat(above[45..]), Floats(file, "b.mlp.experts.up_proj.weight", 2, 3, 5));
        Assert.Equal(straight, Floats(file, "b.mlp.experts.down_proj.weight", 2, 5, 3));
    }

    [Fact]
    public void What_is_no_such_matrix_stays_what_it_is()
    {
        // Odd halves, no output to tell the queries by, queries beyond the matrix, too few extents, scales of another shape, and a part that is there already.
        string[] names = ["a.mlp.gate_up_proj.weight", "a.self_attn.qkv_proj.weight", "b.self_attn.qkv_proj.weight", "b.self_attn.o_proj.weight", "a.block_sparse_moe.input_linear.weight", "c.mlp.gate_up_proj.weight", "c.mlp.up_proj.weight", "d.mlp.experts.gate_up_proj", "e.attention.query_key_value.weight"];
        int[][] shapes = [[5, 4], [12, 4], [12, 4], [4, 14], [6, 4], [4, 4], [2, 4], [2, 3, 4], [10, 4]];
        for (int i = 0; i < names.Length; i++)
        {
            Add(names[i], shapes[i]);
        }

        _writer.Add("f.mlp.experts.down_proj_blocks", [1, 2, 3, 16], new byte[96]);
        _writer.Add("f.mlp.experts.down_proj_scales", [1, 2, 2], new byte[4]);
        _writer.Add("g.mlp.experts.gate_up_proj_blocks", [1, 3, 1, 16], new byte[48]);
        _writer.Add("g.mlp.experts.gate_up_proj_scales", [1, 3, 1], new byte[3]);
        using WeightFile file = FusedView.ByHeads(Open(), 4);
        string[] all = [.. names, "f.mlp.experts.down_proj_blocks", "f.mlp.experts.down_proj_scales", "g.mlp.experts.gate_up_proj_blocks", "g.mlp.experts.gate_up_proj_scales"];
        Assert.Equal(all.Order(StringComparer.Ordinal), file.Tensors.Select(tensor => tensor.Name).Order(StringComparer.Ordinal));
    }

    private float[] Add(string name, params int[] shape)
    {
        float[] values = [.. Enumerable.Range(0, shape.Aggregate(1, static (a, b) => a * b)).Select(_ => _random.NextSingle() - 0.5f)];
        _writer.Add(name, shape, values);
        return values;
    }

    private WeightFile Open()
    {
        _writer.Save(_file.Path);
        return WeightFile.Open(_file.Path);
    }

    /// <summary>All elements, and parts of them from any place on, which are the same.</summary>
    private float[] Floats(WeightFile file, string name, params long[] shape)
    {
        WeightTensor tensor = Assert.IsAssignableFrom<WeightTensor>(file.Find(name));
        Assert.Equal(shape, tensor.Shape.ToArray());
        float[] values = new float[tensor.Length];
        file.ReadFloats(tensor, 0, values);
        for (int i = 0; i < 5; i++)
        {
            int start = _random.Next(values.Length);
            float[] part = new float[_random.Next(values.Length - start + 1)];
            file.ReadFloats(tensor, start, part);
            Assert.Equal(values[start..(start + part.Length)], part);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloats(tensor, values.Length, new float[1]));
        return values;
    }
}
