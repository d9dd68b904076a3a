namespace ModelGen;

/// <summary>
/// What a weight file may have that its model does not. By default a file must be of the model: every parameter in its shape, and
/// nothing that would be left out.
/// </summary>
public sealed record LoadOptions
{
    private readonly IReadOnlyList<string> _ignore = [];

    /// <summary>
    /// Whether tensors that the model does not have are passed over: further layers, biases, a head of its own. What the model computes
    /// is then not what the file's model did. Known buffers, such as a causal mask, are passed over in any case. Default: false.
    /// </summary>
    public bool IgnoreUnexpected { get; init; }

    /// <summary>
    /// The names of tensors that are passed over where they are no parameters of the model, as the file spells them; <c>*</c> stands for any number of any characters:
    /// <c>*.attn.bias</c>, <c>vision_tower.*</c>. Everything else that the model does not have is refused as ever. Default: none.
    /// </summary>
    /// <exception cref="ArgumentNullException">The list, or a pattern in it, is null.</exception>
    public IReadOnlyList<string> Ignore
    {
        get => _ignore;
        init
        {
            ArgumentNullException.ThrowIfNull(value, nameof(Ignore));
            foreach (string pattern in value)
            {
                ArgumentNullException.ThrowIfNull(pattern, nameof(Ignore));
            }

            _ignore = [.. value];
        }
    }

    /// <summary>
    /// Whether weights are loaded though the file says that they are of a declaration that computes something else with them: another
    /// number of heads, another activation. Default: false.
    /// </summary>
    public bool IgnoreDeclaration { get; init; }

    /// <summary>
    /// What the names of parameters begin with that the file may lack, such as <c>classifier.</c>: a new head on a pre-trained model. Those that it
    /// lacks are as <c>Create</c> draws them from <see cref="Seed"/>; all others must be there. Default: none.
    /// </summary>
    public IReadOnlyList<string> MayBeMissing { get; init; } = [];

    /// <summary>The seed of what the file lacks. Default: 0.</summary>
    public int Seed { get; init; }

    /// <summary>
    /// What stands before every name in the file, such as <c>teacher.</c>; tensors without it are not looked at. Default: null, which
    /// finds by itself what training frameworks put there (<c>module.</c>, <c>_orig_mod.</c>, <c>model.</c>) and whether a family's own
    /// prefix (GPT-2's <c>transformer.</c>) was left out.
    /// </summary>
    public string? NamePrefix { get; init; }
}
