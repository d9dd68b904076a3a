namespace Corpora;

/// <summary>How a clause is put.</summary>
internal enum ClauseForm
{
    /// <summary>The king wore the crown at the ball.</summary>
    Active,

    /// <summary>At the ball the king wore the crown.</summary>
    PlaceFirst,

    /// <summary>The crown was worn by the king at the ball.</summary>
    Passive,

    /// <summary>It was the king who wore the crown at the ball.</summary>
    Cleft,
}

/// <summary>What a sentence says: who did what to what, and where. The same meaning has several forms, which are paraphrases of each other.</summary>
/// <param name="Realm">The walk of life that the deed belongs to.</param>
/// <param name="Actor">Who.</param>
/// <param name="Subject">Who, as a template without choices.</param>
/// <param name="ActorIsPlural">Whether there are several of them.</param>
/// <param name="Deed">The verb.</param>
/// <param name="Object">To what, as a template without choices; empty for nothing.</param>
/// <param name="Place">Where, as a template without choices; empty for nowhere.</param>
internal sealed record Clause(Realm Realm, Role Actor, string Subject, bool ActorIsPlural, Deed Deed, string Object, string Place)
{
    public IReadOnlyList<ClauseForm> Forms
    {
        get
        {
            var forms = new List<ClauseForm> { ClauseForm.Active };
            bool pronoun = Subject.EndsWith("/O", StringComparison.Ordinal);
            if (!pronoun)
                forms.Add(ClauseForm.Cleft);
            if (!pronoun && Object.Length > 0)
                forms.Add(ClauseForm.Passive);

            // "Up in the leaves it curled" belongs to poems.
            if (Place.Length > 0 && !Place.StartsWith("up/", StringComparison.Ordinal) && !Place.StartsWith("of/", StringComparison.Ordinal))
                forms.Add(ClauseForm.PlaceFirst);
            return forms;
        }
    }

    public string Write(ClauseForm form) => form switch
    {
        ClauseForm.Active => $"{Subject} {Deed.Past}/V {Object} {Place}",
        ClauseForm.PlaceFirst => $"{Place} {Subject} {Deed.Past}/V {Object}",
        ClauseForm.Passive => $"{Object} {(Deed.ObjectIsPlural ? "were" : "was")}/X {Deed.Participle}/V by/P {Subject} {Place}",
        _ => $"it/O was/X {Subject} {(Actor.Pronoun == "it" ? "that" : "who")}/O {Deed.Past}/V {Object} {Place}",
    };

    public TaggedSentence Sentence(ClauseForm form) => new(Template.Parse(Write(form) + " ./."));

    /// <summary>A clause about a given subject.</summary>
    public static Clause About(Realm realm, Role actor, string subject, bool plural, Draw draw)
    {
        Deed deed = draw.One(realm.Deeds);
        return new Clause(realm, actor, subject, plural, deed, Template.Choose(deed.Object, draw), Template.Choose(deed.Place, draw));
    }

    /// <summary>A clause about somebody of a realm who does what those of another one do, or of the same.</summary>
    public static Clause Random(Realm actors, Realm deeds, Draw draw)
    {
        Role actor = draw.One(actors.Roles);
        bool plural = draw.Chance(20);
        return About(deeds, actor, Noun(actors, actor, plural, draw), plural, draw);
    }

    /// <summary>Somebody does something to somebody else, who may be of another realm.</summary>
    public static Clause Meeting(Realm actors, Realm others, Draw draw)
    {
        Role actor = draw.One(actors.Roles);
        Role other = draw.Other(others.Roles, actor);
        bool plural = draw.Chance(20), otherPlural = draw.Chance(20);
        Deed deed = draw.One(StoryWorld.Meetings) with { ObjectIsPlural = otherPlural };
        string place = draw.Chance(60) ? Template.Choose(draw.One(StoryWorld.Grounds), draw) : "";
        return new Clause(actors, actor, Noun(actors, actor, plural, draw), plural, deed, Noun(others, other, otherPlural, draw), place);
    }

    private static string Noun(Realm realm, Role role, bool plural, Draw draw)
    {
        string adjective = draw.Chance(50) ? draw.One(realm.Adjectives) + "/J " : "";
        return plural
            ? draw.Chance(40) ? $"{draw.One(StoryWorld.Numbers)}/# {adjective}{role.Plural}/N" : $"the/D {adjective}{role.Plural}/N"
            : $"the/D {adjective}{role.Noun}/N";
    }
}
