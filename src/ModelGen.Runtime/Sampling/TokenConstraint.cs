namespace ModelGen;

/// <summary>What tokens may come next in a text, by the tokens that came before: a grammar, a schema. For one text at a time.</summary>
public abstract class TokenConstraint
{
    /// <summary>Whether the text is complete, and nothing may come behind it.</summary>
    public virtual bool IsComplete => false;

    /// <summary>Sets the logits of the tokens that must not come next to negative infinity.</summary>
    /// <param name="logits">One logit for every token id.</param>
    public abstract void Exclude(Span<float> logits);

    /// <summary>A token has become part of the text.</summary>
    /// <param name="token">The token.</param>
    public abstract void Accept(int token);

    /// <summary>Begins another text.</summary>
    public abstract void Reset();
}
