using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Rows;

/// <summary>A row of the comparison: what is measured under one name, in one process.</summary>
internal sealed record Row(string Name, string Description, Func<MeasureSettings, IEnumerable<Measurement>> Measure)
{
    /// <summary>Every row that can be measured.</summary>
    public static IReadOnlyList<Row> All { get; } =
    [
        new("calibration", "what the machine can do: multiply-adds in registers, reading and copying memory", CalibrationRow.Measure),
        new("gpt2-step", "GPT-2 124M training step, B 4 × T 64", StepRows.Gpt2),
        new("matmul", "the matrix products of that step, alone", ProductRow.Measure),
        new("attention", "attention forward and backward, 12 heads of 64, B 4", AttentionRow.Measure),
        new("long-attention", "a layer's training step and prefill over up to 16,384 tokens, by patterns of attention", LongAttentionRow.Measure),
        new("chargpt-step", "0.8M-parameter GPT training step, B 12 × T 64", StepRows.CharGpt),
        new("adamw", "AdamW over 124M parameters", UpdateRow.Measure),
        new("decode-gpt2", "GPT-2 124M, one token at a time", InferenceRows.Decode),
        new("prefill-gpt2", "GPT-2 124M, a prompt of 256 tokens", InferenceRows.Prefill),
        new("short-prompt", "an eighth of Llama 3.2 1B in each format of weights, prompts of 1 to 64 tokens, and one token decoded", ShortPromptRow.Measure),
        new("encoder", "BERT-base and all-MiniLM-L6-v2's shape, the hidden states of a sentence of 128 tokens", EncoderRow.Measure),
        new("lstm-step", "2-layer LSTM language model training step, B 32 × T 35", StepRows.WordLstm),
        new("lstm-cell", "one LSTM cell's decoding step, one thread", InferenceRows.LstmCell),
        new("seq2seq-step", "recurrent encoder–decoder training step, hidden 512, B 32, 30 tokens on either side", StepRows.Seq2Seq),
        new("transformer-step", "training step of a Transformer-base encoder and decoder layer, B 8 × T 64", StepRows.Transformer),
        new("series-step", "a time series model's step of 8 hidden units, as a user calls it, one thread", InferenceRows.SeriesStep),
        new("mlp-step", "4→2→1 network training step, batch 4, one thread", StepRows.TinyMlp),
        new("decode-260k", "stories260K's shape, greedy decoding, one thread", InferenceRows.Decode260K),
        new("memory", "peak resident memory of a process that does GPT-2 training steps", StepRows.Memory),
        new("scaling", "a step's time against layers, width, length and threads", ScalingRow.Measure),
    ];
}
